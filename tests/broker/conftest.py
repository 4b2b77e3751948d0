"""An engine on an empty store, once in memory and once on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.types import EngineSettings
from redispatcher_fastapi.dsn import parse_dsn
from tests.broker.engine import Engine


@pytest.fixture
def engine_settings() -> EngineSettings:
    """The defaults; a test module overrides this fixture for limits of its own."""
    return EngineSettings()


@pytest.fixture
async def engine(
    redis_dsn: str, engine_settings: EngineSettings, leak_check: None
) -> AsyncIterator[Engine]:
    async with Connections(parse_dsn(redis_dsn)) as connections:
        yield Engine(connections, engine_settings)
