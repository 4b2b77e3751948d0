"""Fixtures of the whole suite: the event loop, Redis stores, and the search for leaked keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.dsn import parse_dsn
from tests.leaks import find_leaks
from tests.servers import RedisServer, RedisServers, find_redis_server, skip_or_fail

#: ``make sentinel`` and ``make cluster`` set this; what shows the same at length is left out else.
IS_LONG = os.environ.get("REDISPATCHER_LONG") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not IS_LONG and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The library is written for asyncio, as redis-py is."""
    return "asyncio"


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy has found out about libraries, which takes it most of its time.

    It is of use to whoever runs mypy with the settings of this project.
    """
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server, shared by the whole session; use ``redis_dsn`` for an empty store.

    A test that configures, stops or freezes its server takes one of its own from ``redis_servers``.
    """
    _require_redis()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_servers(tmp_path: Path) -> Iterator[RedisServers]:
    """Real servers for one test to configure, stop, kill and freeze."""
    _require_redis()
    with RedisServers(tmp_path) as servers:
        yield servers


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.redis)])
def redis_dsn(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, once in memory and once on a real server."""
    if request.param == "memory":
        return f"memory://{uuid4().hex}"
    server: RedisServer = request.getfixturevalue("redis_server")
    with server.client() as client:
        client.execute_command("FLUSHALL")
    return server.dsn


@pytest.fixture
def leak_check(redis_dsn: str) -> Iterator[None]:
    """Fail a test that leaves keys which nobody will ever remove, see tests/leaks.py."""
    yield
    with Connections(parse_dsn(redis_dsn)).heartbeat() as client:
        assert find_leaks(client) == []


def _require_redis() -> None:
    """Skip the test where no server can be started; fail it where one is promised."""
    if find_redis_server() is not None:
        return
    skip_or_fail("redis-server is not on PATH")
