"""Moves the messages of an outbox to Redis, for as long as a process runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.errors import OutboxTableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.database.moving import Moved
    from redispatcher_fastapi.database.outbox import Outbox

_REFUSED_EVERY_SECONDS = 30.0
_REPORT_EVERY_SECONDS = 30.0
#: Another relay has what comes before; it takes about this long.
_TURN_SECONDS = 0.03
_CHECKS_WITHIN_SECONDS = 5.0
_STOPS_WITHIN_SECONDS = 5.0


async def check_outbox(outbox: Outbox) -> str | None:
    """Look for the table, and return why the database gives no answer, if it gives none.

    Raises:
        OutboxTableError: the table is missing, or columns of it are.
    """
    from redispatcher_fastapi.database.connecting import in_connection  # it imports SQLAlchemy
    from redispatcher_fastapi.database.queries import check_table

    try:
        async with asyncio.timeout(_CHECKS_WITHIN_SECONDS):
            await in_connection(outbox.engine, lambda each: check_table(each, outbox.table))
    except OutboxTableError:
        raise
    except Exception as error:
        return _reason(error)
    return None


@asynccontextmanager
async def relaying(
    outbox: Outbox | None,
    broker: Broker,
    report: RelayReport,
    *,
    polls: bool = True,
    drains: bool = False,
) -> AsyncGenerator[None, None]:
    """Move messages meanwhile, if there is an outbox; ``drains`` moves what there is before.

    Raises:
        OutboxTableError: the table is missing, or columns of it are.
    """
    if outbox is None:
        yield
        return
    problem = await check_outbox(outbox)
    relay = Relay(outbox, DirectSender.of(broker), report, polls=polls)
    if problem is not None:
        relay.note_trouble(problem)
    if drains:
        await relay.drain()
    async with relay.running():
        yield


class RelayReport(Protocol):
    """What is told of a relay."""

    def outbox_relayed(self, count: int) -> None: ...

    def outbox_refused(self, queue: str, job_id: str, reason: str) -> None: ...

    def outbox_failed(self, reason: str, lasted: timedelta) -> None: ...

    def outbox_resumed(self, lasted: timedelta) -> None: ...


@dataclass(slots=True)
class _Trouble:
    since: float
    reported_at: float


@dataclass(slots=True)
class _Aside:
    """A queue that is left alone for a while, after failures in a row."""

    until: float
    failures: int


class Relay:
    """Moves messages while :meth:`running`; any number of processes may do so at once.

    With ``polls=False`` it looks only when this process has committed something, and goes on until
    nothing is left.
    """

    def __init__(
        self, outbox: Outbox, sender: DirectSender, report: RelayReport, *, polls: bool = True
    ) -> None:
        from redispatcher_fastapi.database.moving import Mover  # it imports SQLAlchemy

        self._outbox = outbox
        self._mover = Mover(outbox, sender)
        self._report = report
        self._polls = polls
        self._aside: dict[str, _Aside] = {}
        self._failures = 0
        self._trouble: _Trouble | None = None
        self._refused_at = 0.0
        self._is_stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Move messages meanwhile, and finish what has begun."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        wake = partial(_wake, loop, woken)
        self._outbox.add_waker(wake)
        # Not in a task group: what the body raises is to come out as it is, and this never raises.
        task = loop.create_task(self._run(woken))
        try:
            yield
        finally:
            self._outbox.remove_waker(wake)
            self._is_stopping = True
            woken.set()
            _, unfinished = await asyncio.wait([task], timeout=_STOPS_WITHIN_SECONDS)
            if unfinished:
                task.cancel()
                await asyncio.wait([task])

    async def drain(self) -> None:
        """Move what there is, and return when nothing more can be moved now."""
        while await self._move() == 0:
            pass

    async def _run(self, woken: asyncio.Event) -> None:
        while not self._is_stopping:
            woken.clear()
            pause = await self._move()
            if not self._is_stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await woken.wait()

    async def _move(self) -> float | None:
        """Move a batch, and return how long there is nothing more to do; ``None`` is for ever."""
        now = asyncio.get_running_loop().time()
        try:
            moved = await self._mover.move(except_queues=self._queues_aside(now))
            self._note(moved, now)
            if not moved.done and self._polls and now >= self._refused_at:
                self._refused_at = now + _REFUSED_EVERY_SECONDS
                again = await self._mover.move(
                    except_queues=self._queues_aside(now), is_refused=True
                )
                self._note(again, now)
        except Exception as error:
            self._failures += 1
            self.note_trouble(_reason(error))
            return jittered_delay(self._failures)
        self._failures = 0
        if not self._aside:
            self._note_health()
        if moved.is_waiting:
            return _TURN_SECONDS
        if moved.is_full:
            return 0
        pauses = [each.until - now for each in self._aside.values()]
        if self._polls:
            pauses.append(self._outbox.poll.total_seconds())
        return max(min(pauses), 0.001) if pauses else None

    def _queues_aside(self, now: float) -> list[str]:
        return [queue for queue, aside in self._aside.items() if aside.until > now]

    def _note(self, moved: Moved, now: float) -> None:
        for row, reason in moved.refused:
            if row.attempts == 0:
                self._report.outbox_refused(row.queue, row.job_id, reason)
        if moved.done:
            self._report.outbox_relayed(len(moved.done))
        if not moved.is_full:
            # Whatever could be moved was seen, so that a queue without trouble has none any more.
            self._aside = {
                queue: aside
                for queue, aside in self._aside.items()
                if aside.until > now or queue in moved.troubles
            }
        for queue, reason in moved.troubles.items():
            failures = self._aside[queue].failures + 1 if queue in self._aside else 1
            self._aside[queue] = _Aside(now + jittered_delay(failures + 3), failures)
            self.note_trouble(reason)

    def note_trouble(self, reason: str) -> None:
        """Tell why messages wait, unless that was told half a minute ago or less."""
        now = asyncio.get_running_loop().time()
        if self._trouble is None:
            self._trouble = _Trouble(since=now, reported_at=now)
        elif now - self._trouble.reported_at < _REPORT_EVERY_SECONDS:
            return
        self._trouble.reported_at = now
        self._report.outbox_failed(reason, timedelta(seconds=now - self._trouble.since))

    def _note_health(self) -> None:
        if self._trouble is not None:
            lasted = asyncio.get_running_loop().time() - self._trouble.since
            self._trouble = None
            self._report.outbox_resumed(timedelta(seconds=lasted))


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(woken.set)


def _reason(error: Exception) -> str:
    """Return the first line, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    text = str(origin).strip().partition("\n")[0]
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__
