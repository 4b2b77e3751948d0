"""A pool that is drained takes nothing more, and gives what runs all the time it needs."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerPool,
    JobState,
    PoolState,
    RedispatcherConfig,
)
from tests.pool.metering import metering
from tests.pool.running import PATIENCE, running_pool
from tests.servers import RedisServer
from tests.waiting import wait_until

LEASE = timedelta(seconds=1)


class Wait(BaseConsumer):
    """Runs until the gate is open."""

    QUEUE = "wait"
    gate = asyncio.Event()

    class Message(BaseConsumer.Message):
        number: int = 0

    async def process_message(self, message: Message) -> int:
        await self.gate.wait()
        return message.number


class Other(BaseConsumer):
    """Would run at once."""

    QUEUE = "other"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    Wait.gate = asyncio.Event()
    return Wait.gate


@pytest.mark.slow
async def test_a_drained_pool_finishes_what_runs_however_long_it_takes_and_takes_nothing_more(
    redis_dsn: str, gate: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    caplog.set_level(logging.INFO, "redispatcher")
    async with running_pool(redis_dsn, Wait, grace_period=timedelta(), lease=LEASE) as running:
        jobs = [await running.publish(Wait.Message(number=number)) for number in range(3)]
        await wait_until(lambda: running.pool.running == 3)
        draining = asyncio.create_task(running.pool.drain())
        await wait_until(lambda: running.pool.state is PoolState.DRAINING)
        health = running.pool.health
        late = await running.publish(Wait.Message(number=9))
        end = loop.time() + 1.2 * LEASE.total_seconds()
        await wait_until(lambda: loop.time() > end)
        states = [await job.state() for job in jobs]
        gate.set()
        await draining
        records = [await job.info() for job in jobs]
        counts = await running.broker.count_jobs("wait")
        results = [await job.result(PATIENCE) for job in jobs]
        left = await late.state()

    assert states == [JobState.RUNNING] * 3
    assert health.problems == ("The pool is draining.",)
    assert not health.can_claim
    assert results == [0, 1, 2]
    assert [record and (record.attempts, record.losses) for record in records] == [(1, 0)] * 3
    assert (counts[JobState.RUNNING], counts[JobState.SUCCEEDED]) == (0, 3)
    assert left is JobState.QUEUED
    assert running.pool.state is PoolState.STOPPED
    (told,) = [each for each in caplog.records if vars(each).get("event") == "pool.draining"]
    assert vars(told)["running"] == 3


@pytest.mark.redis
async def test_a_draining_pool_claims_nothing_however_much_waits(
    redis_server: RedisServer, gate: asyncio.Event
) -> None:
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")
    async with running_pool(redis_server.dsn, Wait, Other) as running:
        await running.publish(Wait.Message())
        await wait_until(lambda: running.pool.running == 1)
        running.pool.begin_drain()
        with metering(redis_server) as meter:
            for _ in range(10):
                await running.publish(Other.Message())
            gate.set()
            await running.pool.drain()
        counts = await running.broker.count_jobs("other")

    assert counts[JobState.QUEUED] == 10
    # Beside publishes: the end of what ran, and some of leave-taking.
    assert meter.requests["evalsha"] <= 10 + 8


async def test_a_pool_that_runs_nothing_is_drained_at_once(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Wait) as running:
        await wait_until(lambda: running.pool.state is PoolState.RUNNING)
        await running.pool.drain()

        assert running.pool.state is PoolState.STOPPED


async def test_a_pool_that_has_not_begun_never_does(redis_dsn: str) -> None:
    pool = ConsumerPool(RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Wait]))

    await pool.drain()
    await pool.run()

    assert pool.state is PoolState.STOPPED


async def test_stopping_ends_a_drain_within_the_grace_period(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Wait, grace_period=timedelta()) as running:
        job = await running.publish(Wait.Message())
        await wait_until(lambda: running.pool.running == 1)
        running.pool.begin_drain()
        await running.pool.stop()
        record = await job.info()

    assert record is not None
    assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)


async def test_another_pool_takes_what_a_drained_one_leaves(
    redis_dsn: str, gate: asyncio.Event
) -> None:
    async with (
        running_pool(redis_dsn, Wait) as drained,
        running_pool(redis_dsn, Wait) as heir,
    ):
        first = [await drained.publish(Wait.Message(number=number)) for number in range(4)]
        await wait_until(lambda: drained.pool.running + heir.pool.running == 4)
        before = drained.pool.running
        drained.pool.begin_drain()
        second = [await drained.publish(Wait.Message(number=number)) for number in range(5)]
        await wait_until(lambda: heir.pool.running == 9 - before)
        gate.set()
        for job in first + second:
            await job.result(PATIENCE)
        await drained.pool.drain()
