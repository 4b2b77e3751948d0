"""Runs the deliveries of one batch together, and each of them to an outcome of its own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.types import Died
from redispatcher_fastapi.consumer import BatchConsumer, BatchItem, ItemSucceeded, Verdicts
from redispatcher_fastapi.execution import Execution, is_being_cancelled, make_context
from redispatcher_fastapi.middleware import BatchRun, around_batches, run_batch_through
from redispatcher_fastapi.stopping import StopRequested, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redispatcher_fastapi.broker.types import Delivery, Outcome
    from redispatcher_fastapi.stopping import StopSignal

    Item = BatchItem[Any, Any]
    Members = Sequence[tuple[Delivery, Item]]


class BatchExecution(Execution):
    """How the batches of one consumer are run; made once, used for every batch."""

    _around = staticmethod(around_batches)

    async def run_batch(self, deliveries: Sequence[Delivery], outcomes: dict[int, Outcome]) -> None:
        """Put into ``outcomes`` what becomes of each job, by the sequence of its delivery.

        A message that cannot be read ends its own job alone. What the handler raises becomes of
        those jobs of which it said nothing. Only a cancellation of this task from outside is
        raised, and what a thread raised because all jobs were asked to stop, as the same; a job
        that is not in ``outcomes`` then is undecided.
        """
        verdicts = Verdicts()
        members = self._read_all(deliveries, verdicts, outcomes)
        if not members:
            return
        error: BaseException | None = None
        stops = [delivery.stop for delivery, _ in members if delivery.stop is not None]
        try:
            items = [item for _, item in members]
            await run_batch_through(
                self._middleware,
                BatchRun(self.definition.consumer, items),
                partial(self._in_time, partial(self._call_batch, items, verdicts, stops), stops),
            )
        except BaseException as raised:  # the jobs are what failed, not the pool
            error = raised
        self._decide(members, verdicts, outcomes, is_whole=error is None)
        has_stopped = isinstance(error, StopRequested) and all(stop.is_requested for stop in stops)
        if has_stopped or (error is not None and is_being_cancelled()):
            raise asyncio.CancelledError from error
        for delivery, _ in members:
            if delivery.sequence not in outcomes:
                outcomes[delivery.sequence] = (
                    self.succeed(delivery, None) if error is None else self.fail(delivery, error)
                )

    def _read_all(
        self, deliveries: Sequence[Delivery], verdicts: Verdicts, outcomes: dict[int, Outcome]
    ) -> Members:
        members: list[tuple[Delivery, Item]] = []
        for delivery in deliveries:
            read = self.read(delivery)
            if isinstance(read, Died):
                outcomes[delivery.sequence] = read
            else:
                message, headers = read
                item = BatchItem(message, make_context(delivery, headers), verdicts)
                members.append((delivery, item))
        return members

    def _decide(
        self,
        members: Members,
        verdicts: Verdicts,
        outcomes: dict[int, Outcome],
        *,
        is_whole: bool,
    ) -> None:
        """Put into ``outcomes`` what the handler said, from now on too late to say more.

        Where something went wrong after it had returned, such as a commit, no success stands.
        """
        verdicts.is_over = True
        for delivery, item in members:
            match verdicts.said.get(item.id):
                case None:
                    pass
                case ItemSucceeded(result=result):
                    if is_whole or not verdicts.has_returned:
                        outcomes[delivery.sequence] = self.succeed(delivery, result)
                case error:
                    outcomes[delivery.sequence] = self.fail(delivery, error)

    async def _call_batch(
        self, items: Sequence[Item], verdicts: Verdicts, stops: Sequence[StopSignal]
    ) -> None:
        consumer = self.definition.consumer()
        assert isinstance(consumer, BatchConsumer)  # or it would have an Execution
        process = partial(self._process_items, consumer, items, verdicts, stops)
        body = partial(self._process_batch, process)
        if self.definition.has_around:
            await consumer.around_batch(body, items)
        else:
            await body()

    async def _process_batch(self, process: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        if self._dependencies is None:
            await process({})
            return
        # Closed before the jobs are settled: a commit that fails is a batch that failed.
        async with self._dependencies.open() as provided:
            await process(provided)

    async def _process_items(
        self,
        consumer: BatchConsumer,
        items: Sequence[Item],
        verdicts: Verdicts,
        stops: Sequence[StopSignal],
        arguments: dict[str, Any],
    ) -> None:
        if self.definition.is_async:
            returned = await consumer.process_batch(items, **arguments)
        else:
            call = partial(consumer.process_batch, items, **arguments)
            returned = await run_in_thread(call, stops, self._threads)
        if returned is not None:
            raise TypeError(
                f"{self.definition.name}.process_batch returned a value of type "
                f"{type(returned).__qualname__}: let it return nothing, and give each item its "
                "result with item.succeed(result)."
            )
        verdicts.has_returned = True
