"""In a batch each job can be cancelled: its item is marked, and all together are the handler."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchItem,
    ConsumerConfig,
    Fixed,
    Job,
    JobCancelledError,
    JobState,
    RetryPolicy,
)
from redispatcher_fastapi.hooks import Cancelled
from tests.cancelling.consumers import HOUR, go_on, notes
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until


def is_cancelled(item: BatchItem[Any, Any]) -> bool:
    return item.context.cancellation.is_requested


class Letters(BatchConsumer):
    """Skips what was cancelled; may fail with the rest."""

    QUEUE = "letters"
    BATCH = Batch(size=3, linger=timedelta(seconds=30))
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(HOUR))

    class Message(BatchConsumer.Message):
        text: str
        fails: bool = False

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        notes.add("started")
        try:
            await wait_until(lambda: any(map(is_cancelled, items)))
            await wait_until(go_on.is_set)
        except asyncio.CancelledError:
            notes.add("cancelled")
            raise
        for item in items:
            if is_cancelled(item):
                notes.add(f"skipped {item.message.text}: {item.context.stop_reason}")
                item.retry(HOUR)
            elif item.message.fails:
                item.fail(ValueError("no"))
            else:
                item.succeed(item.message.text)


class ThreadedLetters(BatchConsumer):
    QUEUE = "threaded-letters"
    BATCH = Batch(size=2, linger=timedelta(seconds=30))

    class Message(BatchConsumer.Message):
        pass

    def process_batch(self, items: Sequence[BatchItem[Message]]) -> None:
        notes.add("started")
        while not go_on.wait(0.005):
            if all(map(is_cancelled, items)):
                notes.add("all are cancelled")
                items[0].context.cancellation.raise_if_requested()


async def publish(running: RunningPool, *texts: str, **more: Any) -> list[Job[Any]]:
    return [await running.publish(Letters.Message(text=text, **more)) for text in texts]


async def assert_cancelled(*jobs: Job[Any]) -> None:
    for job in jobs:
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)


async def test_one_is_marked_and_the_others_are_not_disturbed(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Letters) as running:
        jobs = await publish(running, "a", "b", "c")
        await wait_until(notes.has("started"))
        assert await jobs[1].cancel()
        go_on.set()

        await assert_cancelled(jobs[1])
        assert [await jobs[index].result(PATIENCE) for index in (0, 2)] == ["a", "c"]
    assert notes.lines == ["started", "skipped b: cancelled"]


async def test_the_handler_is_cancelled_once_all_are(redis_dsn: str, leak_check: None) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, Letters, hooks=hooks) as running:
        jobs = await publish(running, "a", "b", "c")
        await wait_until(notes.has("started"))
        for job in jobs:
            assert await job.cancel()

        await assert_cancelled(*jobs)
    assert notes.lines == ["started", "cancelled"]
    assert [outcome for _, outcome in hooks.ended] == [Cancelled()] * 3


async def test_in_a_thread_all_are_asked(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, ThreadedLetters) as running:
        jobs = [await running.publish(ThreadedLetters.Message()) for _ in range(2)]
        await wait_until(notes.has("started"))
        for job in jobs:
            assert await job.cancel()

        await assert_cancelled(*jobs)
    assert notes.lines == ["started", "all are cancelled"]


async def test_one_that_gathers_leaves_its_batch_at_once(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Letters) as running:
        first, second = await publish(running, "a", "b")
        await wait_until(lambda: running.pool.running == 2)
        assert await first.cancel()
        await assert_cancelled(first)
        assert (await second.state(), running.pool.running) == (JobState.RUNNING, 1)

        # There is room for two more, and then it begins.
        more = await publish(running, "c", "d")
        await wait_until(notes.has("started"))
        for job in (second, *more):
            await job.cancel()
        await assert_cancelled(second, *more)


async def test_a_batch_of_which_all_left_holds_up_no_end(redis_dsn: str) -> None:
    consumers = ConsumerConfig(consumer_class=Letters, count=1)
    async with running_pool(redis_dsn, consumers) as running:
        (job,) = await publish(running, "a")
        await wait_until(lambda: running.pool.running == 1)
        assert await job.cancel()
        await assert_cancelled(job)
        async with asyncio.timeout(5):
            await running.pool.stop()
    assert notes.lines == []
