"""What the tests of running pools share: an empty server, and a publisher to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher
from tests.servers import RedisServer


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """A real server without any keys."""
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")
    return redis_server


@pytest.fixture
async def dispatcher(server: RedisServer) -> AsyncGenerator[Redispatcher]:
    """What publishes to the pools, and looks at their queues."""
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
    async with dispatcher.lifespan():
        yield dispatcher
