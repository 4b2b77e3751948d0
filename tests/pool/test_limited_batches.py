"""Batches of consumers that have limits, and of jobs that ask for more than to run in turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from typing import Any, ClassVar

import pytest

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchItem,
    Concurrency,
    ConsumerConfig,
    Fixed,
    Job,
    JobState,
    Ordered,
    RateLimit,
    RateLimited,
    RetryPolicy,
)
from redispatcher_fastapi.limits import Limit
from tests.pool.batches import wait_for
from tests.pool.running import PATIENCE, RunningPool, running_pool

PARALLEL = Concurrency(1, key="account")
IN_ORDER = Ordered(key="account")


class Postings(BatchConsumer):
    """Notes which accounts were in each batch, and how many of each were at work at once."""

    QUEUE = "postings"
    BATCH = Batch(size=4, linger=timedelta(milliseconds=30))
    LIMITS: ClassVar[Sequence[Limit]] = [PARALLEL]
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=5)))
    batches: ClassVar[list[list[str]]] = []
    running: ClassVar[Counter[str]] = Counter()
    most: ClassVar[int] = 0

    class Message(BatchConsumer.Message):
        account: str
        number: int = 0

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        self.batches.append([f"{each.message.account}{each.message.number}" for each in items])
        accounts = [each.message.account for each in items]
        self.running.update(accounts)
        Postings.most = max(Postings.most, *self.running.values())
        await asyncio.sleep(0.002)
        self.running.subtract(accounts)
        for item in items:
            await self.post(item)

    async def post(self, item: BatchItem[Message, str]) -> None:
        item.succeed(item.message.account)


class InOrder(Postings):
    """The same in order, where every third posting has to be tried once more."""

    QUEUE = "ordered-postings"
    LIMITS: ClassVar[Sequence[Limit]] = [IN_ORDER]

    async def post(self, item: BatchItem[Any, str]) -> None:
        if item.message.number % 3 == 2 and item.attempt == 1:
            item.retry()
        elif item.message.number % 3 == 1 and len(self.batches) % 2:
            item.snooze(timedelta(milliseconds=2))


class Slow(Postings):
    """Lets two of each account start at a time."""

    QUEUE = "slow-postings"
    LIMITS: ClassVar[Sequence[Limit]] = [RateLimit(2, per=timedelta(seconds=0.4), key="account")]


class Busy(Postings):
    """Meets a provider that is busy, once."""

    QUEUE = "busy-postings"
    refusals: ClassVar[list[str]] = []

    async def process_batch(self, items: Sequence[BatchItem[Any, str]]) -> None:
        self.batches.append([f"{each.message.account}{each.message.number}" for each in items])
        if not self.refusals:
            self.refusals.append("busy")
            raise RateLimited(timedelta(milliseconds=200))


@pytest.fixture(autouse=True)
def forget() -> None:
    Postings.batches.clear()
    Postings.running.clear()
    Postings.most = 0
    Busy.refusals.clear()


async def publish(
    running: RunningPool, consumer: type[Postings], accounts: str, count: int
) -> list[Job[Any]]:
    messages = [
        Postings.Message(account=account, number=number)
        for number in range(count)
        for account in accounts
    ]
    return list(await running.publisher(consumer).publish_many(messages))


async def test_a_batch_has_no_more_of_a_partition_than_may_run(redis_dsn: str) -> None:
    two = ConsumerConfig(consumer_class=Postings, count=2)
    async with running_pool(redis_dsn, two) as running:
        for job in await publish(running, Postings, "abcde", 4):
            await job.result(PATIENCE)

    assert Postings.most == 1
    assert len(list(chain(*Postings.batches))) == 20
    assert max(map(len, Postings.batches)) > 1


async def test_batches_keep_the_order_of_each_partition(redis_dsn: str) -> None:
    two = ConsumerConfig(consumer_class=InOrder, count=2)
    async with running_pool(redis_dsn, two) as running:
        for job in await publish(running, InOrder, "abc", 5):
            await job.result(PATIENCE)

    seen: dict[str, list[int]] = {}
    for posting in chain(*Postings.batches):
        numbers = seen.setdefault(posting[0], [])
        if numbers[-1:] != [int(posting[1])]:
            numbers.append(int(posting[1]))
    assert seen == {account: [0, 1, 2, 3, 4] for account in "abc"}
    assert Postings.most == 1


async def test_no_more_of_a_partition_are_gathered_than_may_start(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Slow) as running:
        jobs = await publish(running, Slow, "a", 3)
        for job in jobs:
            await job.result(PATIENCE)

    assert Postings.batches == [["a0", "a1"], ["a2"]]


async def test_a_batch_that_is_limited_comes_back_uncharged(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Busy) as running:
        jobs = await publish(running, Busy, "ab", 1)
        for job in jobs:
            await job.result(PATIENCE)
        record = await jobs[0].info()

    assert [sorted(each) for each in Postings.batches] == [["a0", "b0"], ["a0", "b0"]]
    assert record is not None
    assert record.attempts == 1


async def test_a_partition_goes_on_when_its_job_leaves_a_batch_that_gathers(
    redis_dsn: str,
) -> None:
    class Gathering(Postings):
        QUEUE = "gathering-postings"
        BATCH = Batch(size=2, linger=timedelta(seconds=60))

    async with running_pool(redis_dsn, Gathering) as running:
        first, second = await publish(running, Gathering, "a", 2)
        await wait_for(first, JobState.RUNNING)
        assert await second.state() is JobState.QUEUED

        assert await first.cancel()
        await wait_for(second, JobState.RUNNING)
        (other,) = await publish(running, Gathering, "b", 1)
        await other.result(PATIENCE)
        assert await first.state() is JobState.CANCELLED

    assert Postings.batches == [["a1", "b0"]]
