"""A pool is woken when there is something for it to do, and only then: counted in commands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, JobState
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.waking import WakeUp
from redispatcher_fastapi.dsn import parse_dsn
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


class Sleeper:
    """Holds nothing, and notes that it was woken."""

    def __init__(self, is_woken: asyncio.Event) -> None:
        self._is_woken = is_woken

    def holders(self) -> Mapping[str, str]:
        return {}

    def note_work(self, queue: str | None = None) -> None:
        self._is_woken.set()

    def note_reschedule(self) -> None: ...

    def note_call(self, queue: str, job_id: str) -> None: ...


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


async def test_a_connection_that_breaks_while_the_pool_is_full_delays_nothing(
    server: RedisServer,
) -> None:
    async with Connections(parse_dsn(server.dsn)) as connections:
        redis: Any = connections.publisher
        is_woken = asyncio.Event()
        waker = WakeUp(connections, ["quick"], sleeper=Sleeper(is_woken))

        async def find_blocked() -> list[str]:
            return [each["id"] for each in await redis.client_list() if each["cmd"] == "blpop"]

        async def is_blocked() -> bool:
            return bool(await find_blocked())

        async with asyncio.TaskGroup() as tasks:
            wait = tasks.create_task(waker.run())
            await waker.want(["quick"])
            await wait_until(is_blocked)
            await waker.want([])
            for blocked in await find_blocked():
                await redis.client_kill_filter(_id=blocked)
            await is_woken.wait()
            # It must not block again yet, on anything that no token comes to.
            with pytest.raises(AssertionError):
                await wait_until(is_blocked, timeout=timedelta(milliseconds=300))
            await waker.want(["quick"])
            await wait_until(is_blocked)
            is_woken.clear()
            await redis.lpush("rd:{quick}:wake", "1")
            async with asyncio.timeout(3):
                await is_woken.wait()
            wait.cancel()


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
