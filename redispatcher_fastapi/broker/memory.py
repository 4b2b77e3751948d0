"""The store behind ``memory://``: fakeredis, running the same scripts inside this process."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, cast

from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from fakeredis import FakeServer
    from redis.asyncio import Redis as AsyncRedis

    from redispatcher_fastapi.broker.clients import SyncClient

# A cache alone calls its function twice for two threads that both are the first.
_NAMING = Lock()


class MemoryStore:
    """One store in memory: a new one, or with a ``name`` the one of that name in this process."""

    def __init__(self, name: str) -> None:
        if find_spec("fakeredis") is None or find_spec("lupa") is None:
            raise ConfigurationError(
                "memory:// needs fakeredis with Lua: pip install 'redispatcher-fastapi[memory]'."
            )
        if name:
            with _NAMING:
                self._server = _named_server(name)
        else:
            self._server = _make_server()

    def make_async_client(self) -> AsyncRedis:
        from fakeredis import FakeAsyncRedis

        return cast("AsyncRedis", FakeAsyncRedis(server=self._server, decode_responses=False))

    def make_sync_client(self) -> SyncClient:
        from fakeredis import FakeRedis

        return cast("SyncClient", FakeRedis(server=self._server, decode_responses=False))


def _make_server() -> FakeServer:
    from fakeredis import FakeServer

    return FakeServer()


@cache
def _named_server(name: str) -> FakeServer:
    """Return the server of this name: it lives as long as the process, as a real one would."""
    return _make_server()
