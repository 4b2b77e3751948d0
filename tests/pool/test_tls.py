"""TLS with an authority of one's own: everything works, and nobody else is trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from redispatcher_fastapi import (
    BaseConsumer,
    JobContext,
    PublishUncertainError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.dsn import parse_dsn
from tests.cli.programs import SERVICE, Program
from tests.pool.running import PATIENCE, running_pool
from tests.servers import RedisServers
from tests.topologies import make_authority, tls_server

pytestmark = pytest.mark.redis

LEASE = timedelta(seconds=1)


class Attempted(BaseConsumer):
    QUEUE = "attempted"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, context: JobContext) -> int:
        return context.attempt


@dataclass
class Secured:
    """A server with TLS, and addresses of it that are right and wrong."""

    port: int
    folder: Path

    @property
    def right(self) -> str:
        return f"rediss://localhost:{self.port}?ssl_ca_certs={self.folder / 'ca.pem'}"

    @property
    def of_an_unknown_authority(self) -> str:
        return f"rediss://localhost:{self.port}"

    @property
    def of_another_authority(self) -> str:
        return f"rediss://localhost:{self.port}?ssl_ca_certs={self.folder / 'other' / 'ca.pem'}"

    @property
    def of_another_host(self) -> str:
        return f"rediss://127.0.0.1:{self.port}?ssl_ca_certs={self.folder / 'ca.pem'}"


WRONG: list[Callable[[Secured], str]] = [
    lambda secured: secured.of_an_unknown_authority,
    lambda secured: secured.of_another_authority,
    lambda secured: secured.of_another_host,
]
wrong = pytest.mark.parametrize("address", WRONG, ids=["unknown", "another", "another host"])


@pytest.fixture
async def secured(redis_servers: RedisServers, tmp_path: Path) -> AsyncIterator[Secured]:
    make_authority(tmp_path / "other")
    async with tls_server(redis_servers, tmp_path) as (_, port):
        yield Secured(port, tmp_path)


async def use_publisher(connections: Connections) -> None:
    client: Any = connections.publisher
    await client.execute_command("PING")


async def use_worker(connections: Connections) -> None:
    client: Any = connections.worker
    await client.execute_command("PING")


async def use_publisher_line(connections: Connections) -> None:
    await connections.publisher_line.execute_command("PING")


async def use_worker_line(connections: Connections) -> None:
    await connections.worker_line.execute_command("PING")


async def use_held_connection(connections: Connections) -> None:
    async with connections.hold("any") as connection:
        await connection.execute_command("PING")


async def use_subscription(connections: Connections) -> None:
    client: Any = connections.publisher
    async with client.pubsub() as channels:
        await channels.subscribe("any")


async def use_blocking(connections: Connections) -> None:
    client: Any = connections.blocking()
    async with client:
        await client.execute_command("BLPOP", "any", 0.01)


async def use_heartbeat(connections: Connections) -> None:
    with connections.heartbeat() as client:
        await asyncio.to_thread(client.execute_command, "PING")


CLIENTS = [
    use_publisher,
    use_worker,
    use_publisher_line,
    use_worker_line,
    use_held_connection,
    use_subscription,
    use_blocking,
    use_heartbeat,
]


async def test_every_client_trusts_the_authority_of_its_address(secured: Secured) -> None:
    for use in CLIENTS:
        async with Connections(parse_dsn(secured.right)) as connections:
            await use(connections)


@wrong
async def test_no_client_trusts_anybody_else(
    secured: Secured, address: Callable[[Secured], str]
) -> None:
    for use in CLIENTS:
        async with Connections(parse_dsn(address(secured))) as connections:
            with pytest.raises(RedisConnectionError, match=r"(?i)certificate"):
                await use(connections)


@pytest.mark.slow
async def test_a_lease_is_renewed_and_an_idle_pool_woken_over_tls(secured: Secured) -> None:
    gate = asyncio.Event()

    class Gated(BaseConsumer):
        QUEUE = "gated"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message, context: JobContext) -> int:
            await gate.wait()
            return context.attempt

    async with running_pool(secured.right, Gated, Attempted, lease=LEASE) as running:
        long = await running.publish(Gated.Message())
        loop = asyncio.get_running_loop()
        end = loop.time() + 2 * LEASE.total_seconds()
        while loop.time() < end:
            assert await running.perform(Attempted.Message()) == 1
        gate.set()
        assert await long.result(PATIENCE) == 1


@wrong
async def test_a_publisher_fails_in_time_and_says_that_it_is_the_certificate(
    secured: Secured, address: Callable[[Secured], str]
) -> None:
    config = RedispatcherConfig(redis_dsn=address(secured), publish_timeout=timedelta(seconds=2))
    dispatcher = Redispatcher(config)
    async with dispatcher.lifespan():
        with pytest.raises(PublishUncertainError, match=r"(?i)certificate"):
            await dispatcher.publisher(Attempted).publish(Attempted.Message())


@pytest.mark.slow
@wrong
async def test_a_pool_ends_with_78_and_says_what_to_give(
    secured: Secured, tmp_path: Path, address: Callable[[Secured], str]
) -> None:
    def run() -> tuple[int, str]:
        with Program(tmp_path, "pool", SERVICE, dsn=address(secured)) as program:
            return program.wait(), program.log

    code, log = await asyncio.to_thread(run)

    assert code == 78
    assert "The certificate of Redis is not accepted" in log
    assert "ssl_ca_certs=" in log
