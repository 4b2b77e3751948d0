"""A job that runs is cancelled within a second of the call, and cleans up."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    JobCancelledError,
    JobContext,
    JobState,
)
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

SECOND = timedelta(seconds=1)

log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


class Long(BaseConsumer):
    QUEUE = "long"

    class Message(BaseConsumer.Message):
        name: str = "job"

    async def process_message(self, message: Message, context: JobContext) -> str:
        log.append(f"{message.name} started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append(f"{message.name} {context.stop_reason}")
            raise
        finally:
            await asyncio.sleep(0.01)
            log.append(f"{message.name} cleaned up")
        return "done"


async def test_the_handler_is_cancelled_and_cleans_up(redis_dsn: str, leak_check: None) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, Long, hooks=hooks) as running:
        job = await running.publish(Long.Message())
        await wait_until(lambda: log == ["job started"])

        asked = time.monotonic()
        assert await job.cancel()
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)
        took = time.monotonic() - asked

        record = await job.info()
        assert not await job.cancel()

    assert log == ["job started", "job cancelled", "job cleaned up"]
    assert took < 1
    assert record is not None
    assert (record.state, record.reason, record.attempts) == (JobState.CANCELLED, None, 1)
    assert record.history == ()
    assert [type(outcome).__name__ for _, outcome in hooks.ended] == ["Cancelled"]


async def test_a_pool_without_a_free_slot_hears_of_it(redis_dsn: str) -> None:
    consumers = ConsumerConfig(consumer_class=Long, count=2)
    async with running_pool(redis_dsn, consumers) as running:
        jobs = [await running.publish(Long.Message(name=name)) for name in "ab"]
        await wait_until(lambda: len(log) == 2)
        for job in jobs:
            asked = time.monotonic()
            assert await job.cancel()
            with pytest.raises(JobCancelledError):
                await job.result(PATIENCE)
            assert time.monotonic() - asked < 1
