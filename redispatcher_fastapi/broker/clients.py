"""Builds redis-py clients with every option that differs between its releases set explicitly."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio import RedisCluster as AsyncRedisCluster
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

    from redispatcher_fastapi.dsn import Dsn

AsyncClient = AsyncRedis | AsyncRedisCluster

# redis-py's annotations have holes here.
_async_sentinel: Any = AsyncSentinel
_sync_sentinel: Any = Sentinel
_sync_cluster: Any = RedisCluster
_sync_cluster_node: Any = ClusterNode
Flavour = Literal["async", "sync"]


class SyncClient(Protocol):
    """What the heartbeat needs of a synchronous client; redis-py's own have it all."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def make_async_client(
    dsn: Dsn, *, read_timeout: timedelta | None, connect_timeout: timedelta, sentinel: Any | None
) -> AsyncClient:
    """Return a client that connects at its first command; without ``read_timeout`` it has none.

    ``sentinel`` is shared by the clients of one Sentinel DSN; who made it closes it.
    """
    options = _options(dsn, read_timeout, connect_timeout, "async")
    if dsn.kind == "cluster":
        nodes = [AsyncClusterNode(host, port) for host, port in dsn.addresses]
        return AsyncRedisCluster(
            startup_nodes=nodes, **options, **_cluster_options(AsyncRedisCluster)
        )
    if sentinel is not None:
        client: AsyncRedis = sentinel.master_for(dsn.name, **options)
        return client
    return AsyncRedis(**options, **_place(dsn))


def make_sync_client(
    dsn: Dsn, *, read_timeout: timedelta, connect_timeout: timedelta
) -> SyncClient:
    """Return a client for one thread that connects at its first command."""
    options = _options(dsn, read_timeout, connect_timeout, "sync")
    if dsn.kind == "cluster":
        return _LazyCluster(dsn, options)
    if dsn.kind == "sentinel":
        sentinel = _sync_sentinel(
            dsn.addresses, sentinel_kwargs=_sentinel_options(dsn, connect_timeout, "sync")
        )
        client: redis.Redis = sentinel.master_for(dsn.name, **options)
        return client
    return redis.Redis(**options, **_place(dsn))


def make_async_sentinel(dsn: Dsn, *, connect_timeout: timedelta) -> Any:
    """Return what finds the master: it asks the sentinels anew for every new connection."""
    return _async_sentinel(
        dsn.addresses, sentinel_kwargs=_sentinel_options(dsn, connect_timeout, "async")
    )


class _LazyCluster:
    """redis-py's synchronous cluster client connects when it is made; this waits for a command."""

    def __init__(self, dsn: Dsn, options: dict[str, Any]) -> None:
        self._dsn = dsn
        self._options = options
        self._client: Any = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if self._client is None:
            nodes = [_sync_cluster_node(host, port) for host, port in self._dsn.addresses]
            self._client = _sync_cluster(
                startup_nodes=nodes, **self._options, **_cluster_options(_sync_cluster)
            )
        return self._client.execute_command(*args, **options)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _options(
    dsn: Dsn, read_timeout: timedelta | None, connect_timeout: timedelta, flavour: Flavour
) -> dict[str, Any]:
    """Return what all kinds of clients take.

    redis-py repeats nothing: only the engine knows until when, and with which answer to a repeat.
    """
    options: dict[str, Any] = {
        "username": dsn.username,
        "password": dsn.password,
        "protocol": dsn.protocol,
        "client_name": dsn.client_name,
        "max_connections": dsn.max_connections,
        "decode_responses": False,
        "socket_timeout": None if read_timeout is None else read_timeout.total_seconds(),
        "socket_connect_timeout": connect_timeout.total_seconds(),
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": _no_retry(flavour),
        "retry_on_error": [],
        **_tls_options(dsn),
        **_notification_options(dsn),
    }
    if dsn.kind != "cluster":
        options["db"] = dsn.database
    return options


def _place(dsn: Dsn) -> dict[str, Any]:
    if dsn.kind == "unix":
        return {"unix_socket_path": dsn.name}
    address = dsn.addresses[0]
    return {"host": address.host, "port": address.port}


def _tls_options(dsn: Dsn) -> dict[str, Any]:
    if dsn.tls is None:
        return {}
    return {
        "ssl": True,
        "ssl_cert_reqs": dsn.tls.cert_reqs,
        "ssl_check_hostname": dsn.tls.check_hostname,
        "ssl_ca_certs": dsn.tls.ca_certs,
        "ssl_certfile": dsn.tls.certfile,
        "ssl_keyfile": dsn.tls.keyfile,
    }


def _notification_options(dsn: Dsn) -> dict[str, Any]:
    """Switch off what redis-py 7 and later subscribe to under RESP3: it changes time-outs."""
    if dsn.protocol == 2 or not _takes(AsyncRedis, "maint_notifications_config"):
        return {}
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def _sentinel_options(dsn: Dsn, connect_timeout: timedelta, flavour: Flavour) -> dict[str, Any]:
    # One dead sentinel must leave time to ask the next within one time-out.
    timeout = max(connect_timeout.total_seconds() / (len(dsn.addresses) + 1), 0.25)
    return {
        "username": dsn.sentinel_username,
        "password": dsn.sentinel_password,
        "protocol": dsn.protocol,
        "decode_responses": False,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "retry": _no_retry(flavour),
        "retry_on_error": [],
        **_tls_options(dsn),
        **_notification_options(dsn),
    }


def _cluster_options(cluster: type[Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        # One lost shard must not take the queues of the others with it.
        "require_full_coverage": False,
        # A MOVED moves one slot on the map. Loading the whole map anew closes all connections, also
        # those on which others wait; and a client that is new to the cluster meets a few at once.
        "reinitialize_steps": 0,
    }
    if int(redis.__version__.partition(".")[0]) < 6:
        # Since release 6, `retry` alone says this.
        for option in ("cluster_error_retry_attempts", "connection_error_retry_attempts"):
            if _takes(cluster, option):
                options[option] = 0
    return options


def _no_retry(flavour: Flavour) -> Retry | AsyncRetry:
    return AsyncRetry(NoBackoff(), 0) if flavour == "async" else Retry(NoBackoff(), 0)


def _takes(client: type[Any], parameter: str) -> bool:
    return parameter in inspect.signature(client).parameters
