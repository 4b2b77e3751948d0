"""Waits for jobs to finish without polling: watched jobs announce their end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redispatcher_fastapi.broker.announcing import Announcements
from redispatcher_fastapi.broker.records import parse_attempt
from redispatcher_fastapi.broker.scripts import WATCH, as_bytes, as_text
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import (
    BrokerUnavailableError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
)
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient
    from redispatcher_fastapi.clock import Clock

#: A lost announcement, or a clock that a test moves, costs at most this.
_LOOK_AGAIN = 5.0
_LOOK_AGAIN_WITHOUT_CHANNEL = 0.1


class ResultWaiter:
    """Waits for results through one client; all waits of an event loop share a subscription."""

    def __init__(self, client: CommandClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._announcements: WeakKeyDictionary[asyncio.AbstractEventLoop, Announcements] = (
            WeakKeyDictionary()
        )

    async def wait(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        """Return the encoded result of a job once it has one, see :class:`JobStore`."""
        seconds = None if timeout is None else timeout.total_seconds()
        look = partial(self._look, queue, job_id, "1" if may_come else "", "")
        try:
            async with asyncio.timeout(seconds):
                reply = await look() or await self._listen(queue, job_id, look)
        except TimeoutError:
            raise TimeoutError(
                f"Job {job_id} in queue {queue!r} did not finish within {seconds:g} s. "
                "Does a pool run its consumer?"
            ) from None
        return _conclude(queue, job_id, reply)

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        """Return whether a job that others follow is known to have succeeded, once it ended."""
        look = partial(self._look, queue, job_id, "1" if may_come else "", "1")
        reply = await look() or await self._listen(queue, job_id, look)
        try:
            _conclude(queue, job_id, reply)
        except JobExpiredError:
            return False
        return True

    async def _look(self, queue: str, job_id: str, *options: str) -> Sequence[Any] | None:
        now = self._clock.now()
        time: Argument = "" if now is None else to_milliseconds(now)
        with suppress(BrokerUnavailableError):
            reply: Sequence[Any] = await WATCH.run(
                self._client, [queue_prefix(queue)], [time, job_id, *options]
            )
            if as_text(reply[0]) != "waiting":
                return reply
        return None

    async def _listen(
        self, queue: str, job_id: str, look: Callable[[], Awaitable[Sequence[Any] | None]]
    ) -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        announcements = self._announcements.get(loop)
        if announcements is None:
            announcements = self._announcements[loop] = Announcements(self._client)
        patience = _LOOK_AGAIN if announcements.can_hear else _LOOK_AGAIN_WITHOUT_CHANNEL
        async with announcements.listening(queue, job_id) as news:
            while True:
                news.clear()
                reply = await look()
                if reply is not None:
                    return reply
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await news.wait()


def _conclude(queue: str, job_id: str, reply: Sequence[Any]) -> bytes | None:
    name = f"Job {job_id} in queue {queue!r}"
    match as_text(reply[0]):
        case "succeeded":
            return as_bytes(reply[1]) if len(reply) > 1 else None
        case "cancelled":
            if as_text(reply[1]) == "expired":
                raise JobCancelledError(f"{name} has expired: it was not started in time.")
            raise JobCancelledError(f"{name} was cancelled.")
        case "dead":
            reason = as_bytes(reply[1]).decode(errors="replace")
            attempt = parse_attempt(as_bytes(reply[2]))
            error = attempt.error if attempt else None
            detail = f": {error}" if error else "."
            raise JobFailedError(f"{name} is dead ({reason}){detail}", reason=reason, error=error)
        case _:
            raise JobExpiredError(f"{name} left no result: it is unknown, or was kept no longer.")
