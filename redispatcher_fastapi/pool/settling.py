"""Tells Redis how jobs ended: whatever ends during one round trip goes out with the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.broker.types import Released, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redispatcher_fastapi.broker.types import Delivery, Died, Outcome, Retried, Snoozed
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.lanes import Lane

_MAX_BATCH = 500

Ended = tuple["Lane", "Delivery", "Outcome"]


class Settler:
    """Holds what ended until Redis has confirmed it; repeats for as long as that takes."""

    def __init__(
        self, broker: WorkerBroker, hooks: PoolHooks, *, settled: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._hooks = hooks
        self._settled = settled
        self._ended: list[Ended] = []
        self._news = asyncio.Event()
        self._is_closing = False

    def add(self, lane: Lane, delivery: Delivery, outcome: Outcome) -> None:
        """Take over a job whose handler ended."""
        lane.unsettled[delivery.sequence] = delivery
        self._ended.append((lane, delivery, outcome))
        self._news.set()

    def close(self) -> None:
        """Let :meth:`run` return once everything is settled."""
        self._is_closing = True
        self._news.set()

    async def run(self) -> None:
        """Settle until closed."""
        while not (self._is_closing and not self._ended):
            if not self._ended:
                self._news.clear()
                await self._news.wait()
                continue
            batch, self._ended = self._ended[:_MAX_BATCH], self._ended[_MAX_BATCH:]
            await self._settle(batch)

    async def settle_rest(self) -> None:
        """Settle what is left after :meth:`run` was cut short."""
        while self._ended:
            batch, self._ended = self._ended[:_MAX_BATCH], self._ended[_MAX_BATCH:]
            await self._settle(batch)

    async def _settle(self, batch: Sequence[Ended]) -> None:
        succeeded: dict[tuple[str, str], list[tuple[Lane, Delivery, Succeeded]]] = defaultdict(list)
        failed: dict[tuple[str, str], list[tuple[Lane, Delivery, Retried | Snoozed | Died]]] = (
            defaultdict(list)
        )
        released: dict[tuple[str, str], list[tuple[Lane, Delivery]]] = defaultdict(list)
        for lane, delivery, outcome in batch:
            key = (delivery.queue, delivery.holder)
            match outcome:
                case Succeeded():
                    succeeded[key].append((lane, delivery, outcome))
                case Released():
                    released[key].append((lane, delivery))
                case _:
                    failed[key].append((lane, delivery, outcome))
        calls = [
            *(self._acknowledge(*key, ended) for key, ended in succeeded.items()),
            *(self._fail(*key, ended) for key, ended in failed.items()),
            *(self._release(*key, ended) for key, ended in released.items()),
        ]
        if len(calls) == 1:
            await calls[0]
        else:
            await asyncio.gather(*calls)
        self._settled()

    async def _acknowledge(
        self, queue: str, holder: str, ended: Sequence[tuple[Lane, Delivery, Succeeded]]
    ) -> None:
        request = self._broker.next_request()
        jobs = [(delivery, outcome) for _, delivery, outcome in ended]
        verdicts = await repeat_until_answered(
            lambda: self._broker.acknowledge(queue, holder, request, jobs),
            f"acknowledge jobs of {queue}",
        )
        self._conclude([(lane, delivery) for lane, delivery, _ in ended], verdicts)

    async def _fail(
        self,
        queue: str,
        holder: str,
        ended: Sequence[tuple[Lane, Delivery, Retried | Snoozed | Died]],
    ) -> None:
        request = self._broker.next_request()
        jobs = [(delivery, outcome) for _, delivery, outcome in ended]
        verdicts = await repeat_until_answered(
            lambda: self._broker.fail(queue, holder, request, jobs),
            f"settle failed jobs of {queue}",
        )
        self._conclude([(lane, delivery) for lane, delivery, _ in ended], verdicts)

    async def _release(
        self, queue: str, holder: str, ended: Sequence[tuple[Lane, Delivery]]
    ) -> None:
        deliveries = [delivery for _, delivery in ended]
        await repeat_until_answered(
            lambda: self._broker.release(queue, holder, deliveries), f"give back jobs of {queue}"
        )
        self._conclude(ended, "1" * len(ended))

    def _conclude(self, ended: Sequence[tuple[Lane, Delivery]], verdicts: str) -> None:
        for (lane, delivery), verdict in zip(ended, verdicts, strict=True):
            del lane.unsettled[delivery.sequence]
            if verdict != "1":
                self._hooks.write_refused(delivery, lane.name, is_gone=verdict == "g")
