"""A server, an oracle, pool processes, and a dispatcher that publishes to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from redispatcher_fastapi import Redispatcher, RedispatcherConfig
from tests.reliability.oracle import VARIABLE, Oracle
from tests.reliability.processes import Pools
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """A real server without any keys; modules that break theirs have one of their own."""
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")
    return redis_server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A way to the server that can fail."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """What really happened, also in pools that run inside of the test."""
    path = tmp_path / "oracle"
    monkeypatch.setenv(VARIABLE, str(path))
    return Oracle(path)


@pytest.fixture
def pools(tmp_path: Path, oracle: Oracle) -> Iterator[Pools]:
    with Pools(tmp_path, oracle) as pools:
        yield pools


@pytest.fixture
async def dispatcher(server: RedisServer) -> AsyncGenerator[Redispatcher]:
    """Publishes, and looks into the queues, without any fault on its way."""
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
    async with dispatcher.lifespan():
        yield dispatcher
