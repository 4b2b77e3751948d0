"""The connections of one process to Redis: which clients there are, and who closes them."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster

from redispatcher_fastapi.broker.clients import (
    AsyncClient,
    SyncClient,
    make_async_client,
    make_async_sentinel,
    make_sync_client,
)
from redispatcher_fastapi.broker.line import Line
from redispatcher_fastapi.broker.memory import MemoryStore
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS
from redispatcher_fastapi.dsn import Address, Dsn, parse_dsn
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.keys import queue_prefix, stats_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redispatcher_fastapi.broker.scripts import CommandClient

logger = logging.getLogger("redispatcher.broker")

_LONGEST_BLOCK = timedelta(seconds=5)


class Connections:
    """All clients for one address; an async context manager that closes them.

    Publishing and working have pools of their own, so that neither waits for the other's
    connections. Nothing connects before its first command.
    """

    def __init__(self, dsn: Dsn, *, command_timeout: timedelta = timedelta(seconds=5)) -> None:
        self._dsn: Dsn | None = dsn
        self._command_timeout = command_timeout
        self._memory = MemoryStore(dsn.name) if dsn.kind == "memory" else None
        self._sentinel: Any = None
        self._publisher: AsyncClient | None = None
        self._worker: AsyncClient | None = None
        self._publisher_line: Line | None = None
        self._worker_line: Line | None = None
        self._node_lines: dict[Address, Line] = {}
        self._foreign: Any = None
        self._is_cluster = dsn.kind == "cluster"
        if dsn.tls is not None and dsn.tls.cert_reqs == "none":
            logger.warning(
                "The certificate of Redis is not checked (ssl_cert_reqs=none): whoever answers at "
                "%s is trusted with every message.",
                dsn,
            )

    @classmethod
    def around(cls, client: AsyncClient) -> Self:
        """Return connections that use a client of the caller's, as it is, and never close it.

        They can publish and look; a pool needs an address.
        """
        connections = cls(parse_dsn("redis://"))
        connections._dsn = None
        connections._foreign = client
        connections._is_cluster = isinstance(client, AsyncRedisCluster)
        return connections

    @property
    def is_cluster(self) -> bool:
        """Whether each queue may live on a server of its own."""
        return self._is_cluster

    @property
    def is_memory(self) -> bool:
        """Whether everything is gone when the process ends."""
        return self._memory is not None

    @property
    def publisher(self) -> AsyncClient:
        """The client for looking; made in the loop that asks first."""
        if self._foreign is not None:
            client: AsyncClient = self._foreign
            return client
        if self._publisher is None:
            self._publisher = self._make_client(self._command_timeout)
        return self._publisher

    @property
    def worker(self) -> AsyncClient:
        """The client for what a pool does beside its scripts; made in the loop that asks first."""
        if self._foreign is not None:
            client: AsyncClient = self._foreign
            return client
        if self._worker is None:
            self._worker = self._make_client(self._command_timeout)
        return self._worker

    @property
    def publisher_line(self) -> CommandClient:
        """What publishes by scripts; made in the loop that asks first."""
        if self._publisher_line is None:
            self._publisher_line = self._make_line()
        return self._publisher_line or self.publisher

    @property
    def worker_line(self) -> CommandClient:
        """What claims and settles by scripts; made in the loop that asks first."""
        if self._worker_line is None:
            self._worker_line = self._make_line()
        return self._worker_line or self.worker

    def blocking(self, block: timedelta = _LONGEST_BLOCK) -> AsyncClient:
        """Return a new client whose reads may take ``block``, and the usual time-out on top.

        The caller closes it.
        """
        return self._make_client(block + self._command_timeout)

    def check_holding(self) -> None:
        """Check that :meth:`hold` can be used.

        Raises:
            ConfigurationError: these are the connections of the caller, or the store is in memory.
        """
        if self._foreign is not None or self._memory is not None:
            raise ConfigurationError(
                "confirmed_replicas needs the address of a Redis with replicas: neither memory:// "
                "nor a client of your own can be asked for them."
            )

    @asynccontextmanager
    async def hold(self, queue: str) -> AsyncGenerator[CommandClient, None]:
        """Provide one connection to the master that has a queue; it follows no redirection.

        Raises:
            RedisError: it cannot be opened in time, or a cluster does not say to whom.
        """
        if not self._is_cluster:
            line = self.publisher_line
            assert isinstance(line, Line)
            async with line.hold() as connection:
                yield connection
            return
        cluster: Any = self.publisher
        await cluster.initialize()
        node = cluster.get_node_from_key(queue_prefix(queue))
        try:
            async with self._line_to(Address(node.host, node.port)).hold() as connection:
                yield connection
        except Exception:
            # The slot may be elsewhere: let the client that follows redirections find out.
            with suppress(*REDIS_ERRORS):
                await cluster.execute_command("EXISTS", stats_key(queue))
            raise

    def heartbeat(self, *, longest: timedelta | None = None) -> SyncClient:
        """Return a new synchronous client for a thread of its own, which closes it.

        It waits for a reply no longer than ``longest``, nor than the usual time-out.
        """
        if self._memory is not None:
            return self._memory.make_sync_client()
        timeout = self._command_timeout if longest is None else min(self._command_timeout, longest)
        return make_sync_client(self._address(), read_timeout=timeout, connect_timeout=timeout)

    async def aclose(self) -> None:
        """Close the shared clients; those of the caller's stay open."""
        clients: list[AsyncClient | Line | None] = [
            self._publisher,
            self._worker,
            self._publisher_line,
            self._worker_line,
            *self._node_lines.values(),
        ]
        if self._sentinel is not None:
            clients += self._sentinel.sentinels
        self._publisher = self._worker = self._sentinel = None
        self._publisher_line = self._worker_line = None
        self._node_lines = {}
        for client in clients:
            if client is not None:
                with suppress(*REDIS_ERRORS):
                    await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def _make_line(self) -> Line | None:
        """Return a line; ``None`` where only a client knows which server a command is for."""
        if self._foreign is not None or self._memory is not None or self._is_cluster:
            return None
        client = self._make_client(None)
        assert isinstance(client, AsyncRedis)
        return Line(client, self._command_timeout)

    def _line_to(self, address: Address) -> Line:
        line = self._node_lines.get(address)
        if line is None:
            client = make_async_client(
                replace(self._address(), kind="single", addresses=(address,)),
                read_timeout=None,
                connect_timeout=self._command_timeout,
                sentinel=None,
            )
            assert isinstance(client, AsyncRedis)
            line = self._node_lines[address] = Line(client, self._command_timeout)
        return line

    def _make_client(self, read_timeout: timedelta | None) -> AsyncClient:
        if self._memory is not None:
            return self._memory.make_async_client()
        dsn = self._address()
        if dsn.kind == "sentinel" and self._sentinel is None:
            self._sentinel = make_async_sentinel(dsn, connect_timeout=self._command_timeout)
        return make_async_client(
            dsn,
            read_timeout=read_timeout,
            connect_timeout=self._command_timeout,
            sentinel=self._sentinel,
        )

    def _address(self) -> Dsn:
        if self._dsn is None:
            raise ConfigurationError(
                "A client of your own serves for publishing; a pool makes its own connections and "
                "needs a redis_dsn."
            )
        return self._dsn
