"""A pool is woken when there is something for it to do, and only then: counted in commands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, JobState
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


class Quick(BaseConsumer):
    QUEUE = "quick"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> str:
        return "done"


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


async def count_calls(running: RunningPool) -> Mapping[str, int]:
    """Return how often each command was called since the last reset, by pool and test."""
    redis: Any = running.broker.connections.publisher
    statistics = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in statistics.items()}


async def reset_calls(running: RunningPool) -> None:
    redis: Any = running.broker.connections.publisher
    await redis.config_resetstat()


async def test_a_full_lane_with_a_backlog_does_not_keep_an_idle_lane_awake(
    server: RedisServer,
) -> None:
    finish = asyncio.Event()

    class Occupied(BaseConsumer):
        QUEUE = "occupied"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            await finish.wait()

    occupied = ConsumerConfig(consumer_class=Occupied, count=1)
    async with running_pool(server.dsn, occupied, Quick) as running:
        jobs = [await running.publish(Occupied.Message()) for _ in range(5)]
        await wait_until(lambda: running.pool.running == 1)
        await reset_calls(running)
        for _ in range(20):
            await running.perform(Quick.Message())
        calls = await count_calls(running)
        finish.set()
        for job in jobs:
            await job.result(PATIENCE)

    # A publish, a claim, an acknowledgement, a claim that finds nothing, two looks at the result.
    assert calls["evalsha"] <= 20 * 6 + 20
    assert calls["blpop"] <= 20 * 2 + 5


async def test_a_lane_that_becomes_free_is_waited_for_again(server: RedisServer) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    class Gated(BaseConsumer):
        QUEUE = "gated"

        class Message(BaseConsumer.Message):
            gate: int

        async def process_message(self, message: Message) -> None:
            await gates[message.gate].wait()

    gated = ConsumerConfig(consumer_class=Gated, count=1)
    async with running_pool(server.dsn, gated, Quick) as running:
        first = await running.publish(Gated.Message(gate=0))
        await wait_until(lambda: running.pool.running == 1)
        await running.perform(Quick.Message())
        gates[0].set()
        await first.result(PATIENCE)
        await wait_until(lambda: running.pool.running == 0)
        gates[1].set()
        second = await running.publish(Gated.Message(gate=1))

        # The pool blocks for 5 s at a time: it would take longer if it still waited for Quick.
        await second.result(timedelta(seconds=4))


@pytest.mark.slow
async def test_an_idle_pool_makes_at_most_a_round_trip_per_second(server: RedisServer) -> None:
    def consumer(number: int) -> type[BaseConsumer]:
        class Idle(BaseConsumer):
            QUEUE = f"idle-{number}"

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None: ...

        return Idle

    async with running_pool(server.dsn, *(consumer(number) for number in range(50))) as running:
        await running.broker.count_jobs("idle-0")
        await asyncio.sleep(0.5)  # what a start costs is over; this test is about time itself
        await reset_calls(running)
        await asyncio.sleep(6)
        calls = await count_calls(running)

    assert calls.get("evalsha", 0) + calls.get("eval", 0) + calls.get("blpop", 0) <= 6


async def test_draining_takes_few_round_trips(server: RedisServer) -> None:
    quick = ConsumerConfig(consumer_class=Quick, count=100)
    async with running_pool(server.dsn, quick) as running:
        running.pool.quiet()
        await running.pool.stop()
        for _ in range(10):
            await asyncio.gather(*(running.publish(Quick.Message()) for _ in range(100)))
        await reset_calls(running)
        async with running_pool(server.dsn, quick) as draining:

            async def is_drained() -> bool:
                counts = await draining.broker.count_jobs("quick")
                return counts[JobState.SUCCEEDED] == 1000

            await wait_until(is_drained)
        calls = await count_calls(running)

    # 0.05 a job, and what starting, stopping and looking cost.
    assert calls["evalsha"] <= 50 + 40
