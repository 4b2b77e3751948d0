"""Waiting for results: one subscription for all, told at once, and whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.types import EngineSettings
from redispatcher_fastapi.dsn import parse_dsn
from tests.broker.engine import QUEUE, Engine
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

# Well below the five seconds after which a lost announcement is made up for.
SOON_SECONDS = 4.0


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


@pytest.fixture
async def own_engine(server: RedisServer) -> AsyncIterator[Engine]:
    async with Connections(parse_dsn(server.dsn)) as connections:
        yield Engine(connections, EngineSettings())


async def count_subscribers(engine: Engine) -> int:
    return len(await engine.redis.client_list(_type="pubsub"))


async def count_watched(engine: Engine) -> int:
    return len(await engine.key("watched") or ())


async def test_all_waits_of_a_process_share_one_connection(own_engine: Engine) -> None:
    engine = own_engine
    process = await engine.process()
    names = [f"job-{number}" for number in range(150)]
    await engine.publish_many(*names)
    deliveries = await process.claim(150)

    async with asyncio.TaskGroup() as tasks:
        waits = [
            tasks.create_task(engine.broker.wait_for_result(QUEUE, name, None)) for name in names
        ]

        async def are_all_watched() -> bool:
            return await count_watched(engine) == 150

        await wait_until(are_all_watched)
        while_waiting = await count_subscribers(engine)
        await process.succeed(*deliveries, result=b"1")
        async with asyncio.timeout(SOON_SECONDS):
            results = await asyncio.gather(*waits)

    assert results == [b"1"] * 150
    assert while_waiting == 1
    assert await count_subscribers(engine) == 0


async def test_a_subscription_that_breaks_is_made_again(own_engine: Engine) -> None:
    engine = own_engine
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()

    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(engine.broker.wait_for_result(QUEUE, "a", None))

        async def is_subscribed() -> bool:
            return await count_subscribers(engine) == 1 and await count_watched(engine) == 1

        await wait_until(is_subscribed)
        await engine.redis.client_kill_filter(_type="pubsub")
        await process.succeed(delivery, result=b"1")
        async with asyncio.timeout(SOON_SECONDS):
            assert await wait == b"1"


async def test_one_who_stops_waiting_leaves_the_others_their_subscription(
    own_engine: Engine,
) -> None:
    engine = own_engine
    process = await engine.process()
    await engine.publish_many("a", "b")
    deliveries = await process.claim(2)

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(engine.broker.wait_for_result(QUEUE, "a", None))
        second = tasks.create_task(engine.broker.wait_for_result(QUEUE, "b", None))

        async def are_both_watched() -> bool:
            return await count_watched(engine) == 2

        await wait_until(are_both_watched)
        first.cancel()
        await asyncio.wait([first])
        await process.succeed(*deliveries, result=b"1")
        async with asyncio.timeout(SOON_SECONDS):
            assert await second == b"1"

    assert await count_subscribers(engine) == 0
