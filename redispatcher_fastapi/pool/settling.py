"""Tells Redis how jobs ended: whatever ends during one round trip goes out with the next."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.broker.types import Died, Released, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from redispatcher_fastapi.broker.types import Delivery, Outcome, Unsuccessful
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.lanes import Lane

_MAX_BATCH = 500
#: A larger call would take longer than its reply is waited for, or than Redis takes at all.
_MAX_BATCH_BYTES = 4 * 1024 * 1024

Ended = tuple["Lane", "Delivery", "Outcome"]


@dataclass(slots=True)
class _Waiting:
    """What ended under one identity and was not confirmed; times are monotonic seconds.

    It is what one call to Redis can name, and what one shard of a cluster answers for.
    """

    queue: str
    holder: str
    ended: deque[Ended] = field(default_factory=deque[Ended])
    #: When what waits first ended, and when the first of what is under way did.
    since: float = 0.0
    under_way_since: float | None = None

    @property
    def oldest(self) -> float | None:
        """Since when the first of all has been waiting."""
        if self.under_way_since is not None:
            return self.under_way_since
        return self.since if self.ended else None


class Settler:
    """Holds what ended until Redis has confirmed it; repeats for as long as that takes.

    Queues do not wait for each other: in a cluster one can be away while others are not.
    """

    def __init__(
        self,
        broker: WorkerBroker,
        hooks: PoolHooks,
        *,
        settled: Callable[[], None],
        freed: Callable[[Lane], None],
        onward: Callable[[str], None],
    ) -> None:
        """``settled`` is called after each batch, ``freed`` when a lane is held up no longer.

        ``onward`` is told of queues with ends of jobs of which something follows.
        """
        self._broker = broker
        self._hooks = hooks
        self._settled = settled
        self._freed = freed
        self._onward = onward
        #: By holder; the holders of two queues are never the same.
        self._waiting: dict[str, _Waiting] = {}
        self._under_way: set[str] = set()
        self._news = asyncio.Event()
        self._is_closing = False

    def add(self, lane: Lane, delivery: Delivery, outcome: Outcome) -> None:
        """Take over a job whose handler ended."""
        lane.unsettled[delivery.sequence] = delivery
        holder = delivery.holder
        waiting = self._waiting.get(holder)
        if waiting is None:
            waiting = self._waiting[holder] = _Waiting(delivery.queue, holder)
            self._news.set()
        if not waiting.ended:
            waiting.since = time.monotonic()
        waiting.ended.append((lane, delivery, outcome))

    def longest_wait(self, queue: str) -> float | None:
        """Return for how many seconds an outcome has waited for Redis; any thread may ask.

        It is that of the oldest, or a round trip more; ``None`` without any.
        """
        waits = [each.oldest for each in [*self._waiting.values()] if each.queue == queue]
        oldest = min((each for each in waits if each is not None), default=None)
        return None if oldest is None else time.monotonic() - oldest

    def close(self) -> None:
        """Let :meth:`run` return once everything is settled."""
        self._is_closing = True
        self._news.set()

    async def run(self) -> None:
        """Settle until closed."""
        async with asyncio.TaskGroup() as tasks:
            while not (self._is_closing and not self._waiting):
                await self._news.wait()
                self._news.clear()
                for holder in self._waiting.keys() - self._under_way:
                    self._under_way.add(holder)
                    tasks.create_task(self._settle_all(self._waiting[holder]))

    async def settle_rest(self, queues: Collection[str]) -> None:
        """Settle what is left of some queues after :meth:`run` was cut short."""
        for waiting in list(self._waiting.values()):
            if waiting.queue in queues:
                await self._settle_all(waiting)

    async def _settle_all(self, waiting: _Waiting) -> None:
        try:
            while waiting.ended:
                waiting.under_way_since = waiting.since
                batch = _take_batch(waiting.ended)
                await self._settle(waiting.queue, waiting.holder, batch)
                waiting.under_way_since = None
                self._settled()
            del self._waiting[waiting.holder]
        finally:
            self._under_way.discard(waiting.holder)
            self._news.set()

    async def _settle(self, queue: str, holder: str, batch: Sequence[Ended]) -> None:
        succeeded: list[tuple[Lane, Delivery, Succeeded]] = []
        failed: list[tuple[Lane, Delivery, Unsuccessful]] = []
        released: list[tuple[Lane, Delivery, Released]] = []
        for lane, delivery, outcome in batch:
            match outcome:
                case Succeeded():
                    succeeded.append((lane, delivery, outcome))
                case Released():
                    released.append((lane, delivery, outcome))
                case _:
                    failed.append((lane, delivery, outcome))
        if succeeded:
            await self._acknowledge(queue, holder, succeeded)
        if failed:
            await self._fail(queue, holder, failed)
        if released:
            await self._release(queue, holder, released)

    async def _acknowledge(
        self, queue: str, holder: str, ended: Sequence[tuple[Lane, Delivery, Succeeded]]
    ) -> None:
        request = self._broker.next_request()
        jobs = [(delivery, outcome) for _, delivery, outcome in ended]
        verdicts = await repeat_until_answered(
            lambda: self._broker.acknowledge(queue, holder, request, jobs),
            f"acknowledge jobs of {queue}",
        )
        self._conclude(ended, verdicts)

    async def _fail(
        self,
        queue: str,
        holder: str,
        ended: Sequence[tuple[Lane, Delivery, Unsuccessful]],
    ) -> None:
        request = self._broker.next_request()
        jobs = [(delivery, outcome) for _, delivery, outcome in ended]
        verdicts = await repeat_until_answered(
            lambda: self._broker.fail(queue, holder, request, jobs),
            f"settle failed jobs of {queue}",
        )
        self._conclude(ended, verdicts)
        for (_, delivery, outcome), verdict in zip(ended, verdicts, strict=True):
            if verdict in "1n" and isinstance(outcome, Died):
                self._hooks.job_parked(queue, delivery.job_id, outcome.reason)

    async def _release(
        self, queue: str, holder: str, ended: Sequence[tuple[Lane, Delivery, Released]]
    ) -> None:
        request = self._broker.next_request()
        deliveries = [delivery for _, delivery, _ in ended]
        verdicts = await repeat_until_answered(
            lambda: self._broker.release(queue, holder, request, deliveries),
            f"give back jobs of {queue}",
        )
        self._conclude(ended, verdicts)

    def _conclude(self, ended: Sequence[Ended], verdicts: str) -> None:
        lane = ended[0][0]  # the queue has no other
        was_held_up = lane.is_held_up
        for (_, delivery, outcome), verdict in zip(ended, verdicts, strict=True):
            del lane.unsettled[delivery.sequence]
            if verdict in "1n":
                continue
            if verdict == "c":
                self._hooks.job_called_off(delivery, lane.name, outcome)
            else:
                self._hooks.write_refused(delivery, lane.name, outcome, is_gone=verdict == "g")
        if was_held_up and not lane.is_held_up:
            self._freed(lane)
        # What was called off may be followed as well.
        if "n" in verdicts or "c" in verdicts:
            self._onward(ended[0][1].queue)


def _take_batch(ended: deque[Ended]) -> list[Ended]:
    batch: list[Ended] = []
    size = 0
    while ended and len(batch) < _MAX_BATCH and size < _MAX_BATCH_BYTES:
        batch.append(ended.popleft())
        outcome = batch[-1][2]
        if isinstance(outcome, Succeeded) and outcome.result is not None:
            size += len(outcome.result)
    return batch
