"""A job that must run alone, in a process that others want to use too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, Job, JobState
from redispatcher_fastapi.broker.types import Delivery
from redispatcher_fastapi.pool.solo import SoloTurn
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

PREFIX = "rd:{work}:"
LEASE = timedelta(seconds=1)


class Work(BaseConsumer):
    QUEUE = "work"
    gate: asyncio.Event
    running: set[str]

    class Message(BaseConsumer.Message):
        name: str
        waits: bool = False

    async def process_message(self, message: Message) -> None:
        if message.waits:
            self.running.add(message.name)
            await self.gate.wait()
            self.running.discard(message.name)


@pytest.fixture(autouse=True)
def gate() -> None:
    Work.gate, Work.running = asyncio.Event(), set()


@pytest.fixture
async def running(redis_servers: RedisServers) -> AsyncIterator[RunningPool]:
    server: RedisServer = redis_servers.start()
    work = ConsumerConfig(consumer_class=Work, count=5)
    async with running_pool(server.dsn, work, lease=LEASE) as running:
        try:
            yield running
        finally:
            Work.gate.set()


async def publish_solo(running: RunningPool, name: str, *, waits: bool = False) -> Job[Any]:
    """Publish a job and leave it as three losses do."""
    job = await running.publish(Work.Message(name=name, waits=waits), delay=timedelta(hours=1))
    redis: Any = running.broker.connections.publisher
    async with redis.pipeline() as pipe:
        pipe.zrem(f"{PREFIX}scheduled", job.id)
        pipe.hset(f"{PREFIX}faults", job.id, "0,3,0")
        pipe.rpush(f"{PREFIX}solo", job.id)
        pipe.lpush(f"{PREFIX}wake", "1")
        await pipe.execute()
    return job


async def count_calls(running: RunningPool) -> int:
    redis: Any = running.broker.connections.publisher
    statistics = await redis.info("commandstats")
    return sum(
        int(statistics.get(f"cmdstat_{name}", {"calls": 0})["calls"])
        for name in ("evalsha", "blpop")
    )


async def test_it_runs_in_a_process_that_runs_nothing(running: RunningPool) -> None:
    job = await publish_solo(running, "solo")

    await job.result(PATIENCE)


async def test_a_process_that_becomes_empty_for_it_runs_it_before_anything_else(
    running: RunningPool,
) -> None:
    await running.publish(Work.Message(name="busy", waits=True))
    await wait_until(lambda: "busy" in Work.running)
    solo = await publish_solo(running, "solo", waits=True)

    async def has_turn() -> bool:
        redis: Any = running.broker.connections.publisher
        return bool(await redis.exists(f"{PREFIX}turn"))

    await wait_until(has_turn)
    other = await running.publish(Work.Message(name="other"))
    Work.gate.set()
    Work.gate = asyncio.Event()
    await wait_until(lambda: Work.running == {"solo"})

    assert await other.state() is JobState.QUEUED
    Work.gate.set()
    await solo.result(PATIENCE)
    await other.result(PATIENCE)


async def test_a_process_that_cannot_become_empty_takes_jobs_again(running: RunningPool) -> None:
    await running.publish(Work.Message(name="endless", waits=True))
    await wait_until(lambda: "endless" in Work.running)
    solo = await publish_solo(running, "solo")

    for number in range(3):
        quick = await running.publish(Work.Message(name=f"quick-{number}"))
        await quick.result(PATIENCE)

    assert "endless" in Work.running
    assert await solo.state() is JobState.QUEUED
    Work.gate.set()
    await solo.result(PATIENCE)


@pytest.mark.slow
async def test_jobs_that_wait_for_it_to_end_cost_no_round_trips(running: RunningPool) -> None:
    solo = await publish_solo(running, "solo", waits=True)
    await wait_until(lambda: "solo" in Work.running)
    other = await running.publish(Work.Message(name="other"))
    before = await count_calls(running)
    await asyncio.sleep(1)  # this test is about time itself
    after = await count_calls(running)
    Work.gate.set()
    await solo.result(PATIENCE)
    await other.result(PATIENCE)

    assert after - before <= 12


def test_a_turn_that_does_not_succeed_passes_on_and_the_next_one_is_longer() -> None:
    solo = SoloTurn(10.0)
    solo.take_turn("work", now=100.0)

    assert solo.is_reserving(109.0)
    assert not solo.may_try(109.0, is_empty=False)
    assert solo.may_try(109.0, is_empty=True)
    assert not solo.is_reserving(110.0)
    assert not solo.may_try(119.0, is_empty=False)
    assert solo.may_try(130.0, is_empty=False)
    assert solo.length == 20.0
    solo.take_turn("work", now=130.0)
    assert solo.is_reserving(149.0)
    solo.begin(Delivery("work", "a", "holder", 1, "1,1*", b"", 0))
    assert solo.length == 10.0


def test_turns_do_not_grow_for_ever() -> None:
    solo = SoloTurn(10.0)
    now = 0.0
    for _ in range(50):
        solo.take_turn("work", now)
        now += solo.length
        assert not solo.is_reserving(now)
        now += solo.length

    assert solo.length == 160.0
