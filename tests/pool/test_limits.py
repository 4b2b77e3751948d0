"""Limits and pauses as pools keep them: each is told in time when it may go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    ConsumerConfig,
    Fair,
    Inspector,
    RateLimit,
    RateLimited,
    WaitingReason,
)
from redispatcher_fastapi.hooks import LoggingHooks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until

SECOND = timedelta(seconds=1)


class Quick(BaseConsumer):
    QUEUE = "quick"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> float:
        return time.monotonic()


class OneByOne(BaseConsumer):
    """Runs nowhere else while it runs."""

    QUEUE = "one-by-one"
    LIMITS = (Concurrency(1),)
    running = 0

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> int:
        OneByOne.running += 1
        at_once = OneByOne.running
        await asyncio.sleep(0.001)
        OneByOne.running -= 1
        return at_once


class Rated(BaseConsumer):
    QUEUE = "rated"
    LIMITS = (RateLimit(2, per=timedelta(milliseconds=200), key="tenant"),)

    class Message(BaseConsumer.Message):
        tenant: str

    async def process_message(self, message: Message) -> float:
        return time.monotonic()


class Busy(BaseConsumer):
    """Calls somebody who has had enough for a while."""

    QUEUE = "busy"
    LIMITS = (Fair(key="tenant"),)
    free_at = 0.0

    class Message(BaseConsumer.Message):
        tenant: str

    async def process_message(self, message: Message) -> float:
        now = time.monotonic()
        if message.tenant == "full" and now < Busy.free_at:
            raise RateLimited(Busy.free_at - now)
        return now


class PauseHooks(LoggingHooks):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def queue_paused(self, queue: str) -> None:
        super().queue_paused(queue)
        self.told.append(f"{queue} paused")

    def queue_resumed(self, queue: str) -> None:
        super().queue_resumed(queue)
        self.told.append(f"{queue} resumed")


@pytest.fixture
async def hooks() -> PauseHooks:
    return PauseHooks()


@pytest.fixture
async def running(
    redis_dsn: str, leak_check: None, hooks: PauseHooks
) -> AsyncGenerator[RunningPool]:
    async with running_pool(redis_dsn, Quick, Rated, Busy, hooks=hooks) as running:
        yield running


async def test_a_pool_starts_nothing_of_a_paused_queue_and_goes_on_when_it_is_resumed(
    running: RunningPool, hooks: PauseHooks
) -> None:
    inspector = Inspector(running.broker)
    await inspector.pause(Quick, reason="maintenance")
    jobs = [await running.publish(Quick.Message()) for _ in range(3)]
    await wait_until(lambda: hooks.told == ["quick paused"])

    waiting = await inspector.why(Quick, jobs[0].id)
    assert waiting is not None
    assert (waiting.reason, waiting.detail) == (WaitingReason.PAUSED, "maintenance")
    record = await inspector.queue(Quick)
    assert record.paused is not None
    assert (record.waiting, record.running, record.pools) == (3, 0, 1)
    await running.perform(Rated.Message(tenant="other"))

    resumed_at = time.monotonic()
    assert await inspector.resume(Quick)
    assert all([await job.result(PATIENCE) >= resumed_at for job in jobs])
    assert hooks.told == ["quick paused", "quick resumed"]


async def test_a_pause_ends_by_itself(running: RunningPool) -> None:
    begin = time.monotonic()
    await Inspector(running.broker).pause(Quick, until=timedelta(milliseconds=200))

    started_at = await running.perform(Quick.Message())

    assert 0.19 <= started_at - begin < 2


async def test_a_rate_is_kept_and_the_pool_wakes_when_the_next_may_start(
    running: RunningPool,
) -> None:
    jobs = [await running.publish(Rated.Message(tenant="a")) for _ in range(6)]
    starts = sorted([await job.result(PATIENCE) for job in jobs])

    # Redis counts in whole milliseconds from its claims, which the handlers start after.
    assert all(later - earlier > 0.15 for earlier, later in zip(starts, starts[2:], strict=False))
    assert starts[-1] - starts[0] < 3


async def test_a_job_that_ran_into_a_limit_waits_with_its_partition_alone(
    running: RunningPool,
) -> None:
    Busy.free_at = time.monotonic() + 1.5
    full = [await running.publish(Busy.Message(tenant="full")) for _ in range(3)]
    other = await running.publish(Busy.Message(tenant="other"))

    assert await other.result(PATIENCE) < Busy.free_at
    assert min([await job.result(PATIENCE) for job in full]) >= Busy.free_at
    records = [await job.info() for job in full]
    assert [record.attempts for record in records if record] == [1, 1, 1]


async def test_pools_hand_a_single_place_over_without_polling(
    redis_dsn: str, leak_check: None
) -> None:
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(running_pool(redis_dsn, OneByOne)) for _ in range(2)
        ]
        begin = time.monotonic()
        messages = [OneByOne.Message()] * 40
        jobs = await pools[0].publisher(OneByOne).publish_many(messages)
        at_once = [await job.result(PATIENCE) for job in jobs]
        seconds = time.monotonic() - begin

    assert set(at_once) == {1}
    # One that nobody woke would claim after five seconds.
    assert seconds < 5


async def test_limits_of_a_configuration_hold_instead_of_those_of_the_class(
    redis_dsn: str, leak_check: None
) -> None:
    config = ConsumerConfig(consumer_class=Rated, limits=[])
    async with running_pool(redis_dsn, config) as running:
        begin = time.monotonic()
        jobs: list[Any] = [await running.publish(Rated.Message(tenant="a")) for _ in range(60)]
        ended = [await job.result(PATIENCE) for job in jobs]

    # By the rate of the class, the last one could not have started for almost six seconds.
    assert max(ended) - begin < 5
