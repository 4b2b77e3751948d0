"""What Redis pays: bytes per job, and a server without memory left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.broker.types import EngineSettings, Submission
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.job import JobState
from tests.broker.engine import ENVELOPE, QUEUE, Engine
from tests.servers import RedisServer, RedisServers

pytestmark = pytest.mark.redis

BODY_OF_64_BYTES = b'{"email":"someone@example.com","name":"Some One","member":true }'
JOBS = 50_000


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


@pytest.fixture
async def own_engine(server: RedisServer) -> AsyncIterator[Engine]:
    async with Connections(parse_dsn(server.dsn)) as connections:
        yield Engine(connections, EngineSettings())


async def used_memory(engine: Engine) -> int:
    information: dict[str, Any] = await engine.redis.info("memory")
    return int(information["used_memory"])


@pytest.mark.slow
async def test_a_queued_job_costs_at_most_190_bytes_and_a_finished_one_130(
    own_engine: Engine,
) -> None:
    assert len(BODY_OF_64_BYTES) == 64
    engine = own_engine
    envelope = b'{"v":1,"body":' + BODY_OF_64_BYTES + b"}"
    process = await engine.process()

    async def publish(count: int) -> None:
        submissions = [Submission(new_job_id(), envelope) for _ in range(count)]
        await engine.sender.send_many(QUEUE, submissions)

    await publish(1000)  # scripts and buffers are paid for once, not per job
    for _ in range(2):
        await process.succeed(*await process.claim(500))
    engine.clock.move(hours=2)
    for _ in range(10):
        await engine.upkeep()
    await process.renew()
    assert await engine.counts() == {}
    before = await used_memory(engine)

    await publish(JOBS)
    queued = (await used_memory(engine) - before) / JOBS
    for _ in range(JOBS // 500):
        await process.succeed(*await process.claim(500))
    finished = (await used_memory(engine) - before) / JOBS

    assert await engine.counts() == {JobState.SUCCEEDED: JOBS}
    assert queued <= 190
    assert finished <= 130


async def test_a_server_without_memory_refuses_publishes_and_lets_consumers_drain(
    own_engine: Engine,
) -> None:
    engine = own_engine
    process = await engine.process()
    names = [f"job-{index}" for index in range(50)]
    await engine.publish_many(*names)
    await engine.redis.config_set("maxmemory-policy", "noeviction")
    await engine.redis.config_set("maxmemory", "1")

    with pytest.raises(QueueFullError, match="no memory"):
        await engine.sender.send(QUEUE, Submission("refused", ENVELOPE))
    assert await process.renew() == 0
    first, second, third, *rest = await process.claim(50)
    assert await process.retry(first) == "1"
    assert await process.release(second) == "1"
    assert await process.succeed(third, result=b"1") == "1"
    assert await process.succeed(*rest) == "1" * 47
    engine.clock.move(seconds=1)
    await engine.upkeep()

    last = await process.claim(50)
    assert sorted(delivery.job_id for delivery in last) == sorted([first.job_id, second.job_id])
