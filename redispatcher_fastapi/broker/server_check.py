"""Looks at the server once at start-up: can it be used, and is it set up to keep jobs?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ssl import SSLCertVerificationError
from typing import TYPE_CHECKING, Any, cast

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, translate
from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerUnavailableError,
    ConfigurationError,
)
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redispatcher_fastapi.broker.connection import Connections

_OLDEST = (6, 2)
_PROBE = "return 1"


async def check_server(connections: Connections, *, confirmed_replicas: int = 0) -> list[str]:
    """Return warnings about the server's set-up, which its operator may not let us see.

    Raises:
        ConfigurationError: the server is too old, or its certificate is not accepted.
        BrokerAccessError: the credentials, or the right to run scripts on our keys, are missing;
            or that to ask ``confirmed_replicas``, if there are to be any.
        BrokerUnavailableError: it does not answer.
    """
    if connections.is_memory:
        return []
    client: Any = connections.publisher
    try:
        await heeding_cancellation(client.execute_command("EVAL", _PROBE, 1, queue_prefix("check")))
    except REDIS_ERRORS as error:
        if _is_certificate_refused(error):
            raise ConfigurationError(
                "The certificate of Redis is not accepted: give the DSN "
                "ssl_ca_certs=/path/to/ca.pem, or the host name that the certificate is for. "
                f"({error})"
            ) from error
        raise translate(error) from error
    options = {"target_nodes": "primaries"} if connections.is_cluster else {}
    if confirmed_replicas:
        await _check_waiting(client, options)
    try:
        reply = await heeding_cancellation(client.execute_command("INFO", **options))
    except REDIS_ERRORS as error:
        translated = translate(error)
        if isinstance(translated, BrokerUnavailableError):
            raise translated from error
        return []
    return check_information(
        reply, is_cluster=connections.is_cluster, confirmed_replicas=confirmed_replicas
    )


async def _check_waiting(client: Any, options: Mapping[str, str]) -> None:
    try:
        await heeding_cancellation(client.execute_command("WAIT", 0, 1, **options))
    except REDIS_ERRORS as error:
        translated = translate(error)
        # A replica has another reason, which the warnings tell.
        if isinstance(translated, BrokerAccessError | BrokerUnavailableError):
            raise translated from error


def check_information(reply: Any, *, is_cluster: bool, confirmed_replicas: int = 0) -> list[str]:
    """Return warnings about what ``INFO`` says, which may be nothing.

    Raises:
        ConfigurationError: a server is too old.
    """
    warnings: dict[str, None] = {}
    for information in _servers(reply):
        _check_version(information)
        warnings.update(dict.fromkeys(_warnings(information, is_cluster, confirmed_replicas)))
    return list(warnings)


def _servers(reply: Any) -> list[Mapping[str, Any]]:
    """Return the fields of each server that answered."""
    if not isinstance(reply, Mapping):
        return []
    fields = cast("Mapping[str, Any]", reply)
    if "redis_version" in fields:
        return [fields]
    # A cluster answers by node.
    return [
        cast("Mapping[str, Any]", value) for value in fields.values() if isinstance(value, Mapping)
    ]


def _check_version(information: Mapping[str, Any]) -> None:
    version = str(information.get("redis_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < _OLDEST:
        raise ConfigurationError(
            f"This server is Redis {version}; redispatcher_fastapi needs "
            "Redis 6.2 or later, or Valkey."
        )


def _warnings(
    information: Mapping[str, Any], is_cluster: bool, confirmed_replicas: int
) -> Iterator[str]:
    policy = str(information.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and str(information.get("maxmemory", "0")) != "0":
        yield (
            f"Redis may evict jobs when its memory is full (maxmemory-policy {policy}): "
            "set maxmemory-policy to noeviction."
        )
    if str(information.get("aof_enabled", "1")) == "0":
        yield (
            "Redis keeps no append-only file: what was published since its last snapshot "
            "is lost when it stops. Set appendonly to yes."
        )
    if information.get("role") == "slave":
        yield "This Redis server is a replica, which takes no writes: use its master's address."
    replicas = int(information.get("connected_slaves", confirmed_replicas))
    if replicas < confirmed_replicas and information.get("role") == "master":
        yield (
            f"confirmed_replicas is {confirmed_replicas}, and this Redis server has "
            f"{replicas} replicas now: publishing raises NotReplicatedError until it has more."
        )
    if str(information.get("cluster_enabled", "0")) == "1" and not is_cluster:
        yield "This Redis server is part of a cluster: use redis+cluster:// in the DSN."


def _is_certificate_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
