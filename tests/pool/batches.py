"""A consumer that takes batches, for tests that say what it does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchItem,
    ConsumerConfig,
    Fixed,
    Job,
    JobRecord,
    JobState,
    RetryPolicy,
)
from tests.pool.running import RunningPool
from tests.waiting import wait_until

LONG = timedelta(seconds=60)
SOON = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta()))

Items = Sequence[BatchItem[Any, Any]]


class Letters(BatchConsumer):
    """Hands its items to ``handle``; ``seen`` has the texts of each batch."""

    QUEUE = "letters"
    BATCH = Batch(size=3, linger=LONG)
    RETRY = SOON
    seen: ClassVar[list[list[str]]] = []
    handle: ClassVar[Callable[[Items], Awaitable[None]]]

    class Message(BatchConsumer.Message):
        text: str

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        self.seen.append([item.message.text for item in items])
        await Letters.handle(items)


class Quick(Letters):
    """The same, for batches that need not be full."""

    QUEUE = "quick"
    BATCH = Batch(size=3, linger=timedelta(milliseconds=20))


class Gate:
    """Keeps every batch until it is opened."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def __call__(self, items: Items) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.is_open.wait()
        finally:
            self.waiting -= 1


async def accept(items: Items) -> None:
    pass


def forget_batches() -> None:
    """Forget what was seen, and do nothing with the next items."""
    Letters.seen.clear()
    Letters.handle = accept


def one(consumer: type[BatchConsumer]) -> ConsumerConfig:
    """Run one batch at a time."""
    return ConsumerConfig(consumer_class=consumer, count=1)


async def publish(running: RunningPool, *texts: str, to: type[Letters] = Letters) -> list[Job[Any]]:
    return list(
        await running.publisher(to).publish_many([Letters.Message(text=text) for text in texts])
    )


async def read(job: Job[Any]) -> JobRecord:
    record = await job.info()
    assert record is not None
    return record


async def wait_for(job: Job[Any], state: JobState) -> None:
    async def holds() -> bool:
        return await job.state() is state

    await wait_until(holds)
