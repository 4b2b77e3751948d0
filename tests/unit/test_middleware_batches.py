"""What goes around a batch: it sees the items, and what it raises is theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, ClassVar

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchItem,
    BatchRun,
    CallNext,
    Middleware,
    Run,
)
from redispatcher_fastapi.batch_execution import BatchExecution
from redispatcher_fastapi.broker.types import Outcome
from redispatcher_fastapi.consumer import definition_of
from tests.unit.delivering import deliver, error_of, result

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Sum(BatchConsumer):
    QUEUE = "sum"
    BATCH = Batch(size=10)
    TIMEOUT = timedelta(seconds=5)
    notes: ClassVar[list[str]] = []

    class Message(BatchConsumer.Message):
        number: int

    async def around_batch(
        self, run: Callable[[], Awaitable[None]], items: Sequence[BatchItem[Any, Any]]
    ) -> None:
        self.notes.append("around")
        await run()

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        for item in items:
            if item.message.number < 0:
                item.reject("negative")
            elif item.message.number > 0:
                item.succeed(tenant.get())


class AroundBatches(Middleware):
    def __init__(self, raises: Exception | None = None, *, skips: bool = False) -> None:
        self.batches: list[BatchRun] = []
        self._raises = raises
        self._skips = skips

    async def around_batch(self, batch: BatchRun, call_next: CallNext[None]) -> None:
        self.batches.append(batch)
        Sum.notes.append("middleware")
        token = tenant.set("blue")
        if not self._skips:
            await call_next()
        tenant.reset(token)
        if self._raises is not None:
            raise self._raises


async def run_sum(middleware: Middleware, *numbers: int) -> list[Outcome]:
    Sum.notes.clear()
    batches = BatchExecution(
        definition_of(Sum), max_message_bytes=1000, max_result_bytes=1000, middleware=[middleware]
    )
    deliveries = [deliver(Sum.Message(number=number), Sum, of=number) for number in numbers]
    for sequence, delivery in enumerate(deliveries):
        delivery.sequence = sequence
    outcomes: dict[int, Outcome] = {}
    await batches.run_batch(deliveries, outcomes)
    return [outcomes[sequence] for sequence in range(len(numbers))]


async def test_a_middleware_goes_around_a_batch_and_sees_its_items() -> None:
    middleware = AroundBatches()

    good, bad = await run_sum(middleware, 1, -1)

    (batch,) = middleware.batches
    assert batch.consumer is Sum
    assert [item.message.number for item in batch.items] == [1, -1]
    assert [item.context.headers.of for item in batch.items] == [1, -1]
    assert result(good) == b'"blue"'
    assert error_of(bad).startswith("Reject: negative")
    assert Sum.notes == ["middleware", "around"]


async def test_what_a_middleware_raises_after_a_batch_fails_all_that_had_not_failed() -> None:
    outcomes = await run_sum(AroundBatches(LookupError("no commit")), 1, 0, -1)

    assert [error_of(outcome).split(":")[0] for outcome in outcomes] == [
        "LookupError",
        "LookupError",
        "Reject",
    ]
    assert error_of(outcomes[0]).endswith("(raised by the middleware AroundBatches)")


async def test_a_batch_that_a_middleware_skips_is_not_run() -> None:
    (outcome,) = await run_sum(AroundBatches(skips=True), -1)

    assert result(outcome) is None
    assert Sum.notes == ["middleware"]


async def test_around_run_is_for_single_messages_only() -> None:
    class Single(Middleware):
        async def around_run(self, run: Run, call_next: CallNext) -> Any:
            raise AssertionError

    (outcome,) = await run_sum(Single(), 1)

    assert result(outcome) == b'"nobody"'
