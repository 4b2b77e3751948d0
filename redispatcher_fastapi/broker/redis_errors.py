"""The one edge where redis-py's errors become ours."""

from __future__ import annotations

import re
from asyncio import IncompleteReadError
from typing import TYPE_CHECKING

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerError,
    BrokerMemoryError,
    BrokerUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a broken connection raises that redis-py does not translate: uvloop a RuntimeError for
#: writing to a closed transport, redis-py itself an AttributeError for a writer it dropped.
_BROKEN_CONNECTION = (OSError, IncompleteReadError, RuntimeError, AttributeError)

#: What a call through redis-py can raise: its cluster client has a tree of its own.
REDIS_ERRORS: tuple[type[Exception], ...] = (
    RedisError,
    RedisClusterException,
    *_BROKEN_CONNECTION,
)

# Access before Unavailable: redis-py derives its AuthenticationError from ConnectionError.
_BY_CLASS: tuple[tuple[type[BrokerError], tuple[type[Exception], ...]], ...] = (
    (
        BrokerAccessError,
        (
            AuthenticationError,
            AuthenticationWrongNumberOfArgsError,
            AuthorizationError,
            NoPermissionError,
        ),
    ),
    (BrokerMemoryError, (OutOfMemoryError,)),
    (
        BrokerUnavailableError,
        (
            RedisConnectionError,  # also loading, no free connection, no master known
            RedisTimeoutError,
            ReadOnlyError,
            ClusterError,  # redirected too often, or to nowhere: a slot is being moved
            ClusterDownError,  # also MasterDown
            SlotNotCoveredError,
            TryAgainError,
            AskError,  # also Moved
            NoScriptError,
            InvalidResponse,  # the stream is out of step; a new connection is not
            *_BROKEN_CONNECTION,
        ),
    ),
)

# For what redis-py leaves in the text, and for errors that a script of Redis 6.2 passes on.
_BY_PREFIX: Mapping[str, type[BrokerError]] = {
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "NOPERM"), BrokerAccessError),
    "OOM": BrokerMemoryError,
    **dict.fromkeys(
        (
            "ASK",
            "BUSY",
            "CLUSTERDOWN",
            "LOADING",
            "MASTERDOWN",
            "MISCONF",
            "MOVED",
            "NOREPLICAS",
            "NOSCRIPT",
            "READONLY",
            "TRYAGAIN",
            "UNBLOCKED",
        ),
        BrokerUnavailableError,
    ),
}
_PREFIX = re.compile(r"-?(?P<prefix>[A-Z]{3,})\b")
_PREFIX_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?(?P<prefix>[A-Z]{3,}) ")
_ACCESS_IN_SCRIPT = re.compile(
    r"ACL failure in script|The user executing the script can't", re.IGNORECASE
)
_CLUSTER_IS_AWAY = re.compile(
    r"cannot be connected|slots? .*not covered", re.IGNORECASE | re.DOTALL
)
_MOVED_HINT = " If this server is part of a Redis Cluster, use redis+cluster:// in the DSN."
_LOGIN = (AuthenticationError, AuthenticationWrongNumberOfArgsError, AuthorizationError)
_LOGIN_HINT = "Check user and password in the DSN."
_RIGHTS_HINT = (
    "This user of Redis lacks a command or a key that the library needs: see 'Permissions in "
    "Redis' in the reference."
)
_MAX_TEXT = 300


def translate(error: Exception) -> BrokerError:
    """Return our error for one of redis-py's or of the network's."""
    if isinstance(error, BrokerError):
        return error
    kind, text = _classify(error), _describe(error)
    if kind is BrokerAccessError:
        text = f"{text.removesuffix('.')}. {_access_hint(error)}"
    return kind(text)


def is_demoted(error: BaseException) -> bool:
    """Return whether a server refused because it is a replica: its address may lead elsewhere now.

    Redis 6.2 passes on what a script was refused inside of another text.
    """
    return isinstance(error, ReadOnlyError | MasterDownError) or "-READONLY " in str(error)


def _classify(error: Exception) -> type[BrokerError]:
    for ours, theirs in _BY_CLASS:
        if isinstance(error, theirs):
            return ours
    text = str(error)
    if isinstance(error, RedisClusterException):
        if isinstance(error.__cause__, AuthenticationError | NoPermissionError):
            return BrokerAccessError
        return BrokerUnavailableError if _CLUSTER_IS_AWAY.search(text) else BrokerError
    if _ACCESS_IN_SCRIPT.search(text):
        return BrokerAccessError
    found = _PREFIX_IN_SCRIPT.search(text) or _PREFIX.match(text)
    return _BY_PREFIX.get(found["prefix"], BrokerError) if found else BrokerError


def _access_hint(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, RedisClusterException) else error
    is_login = isinstance(cause, _LOGIN) or str(error).startswith(("NOAUTH", "WRONGPASS"))
    return _LOGIN_HINT if is_login else _RIGHTS_HINT


def _describe(error: Exception) -> str:
    """Return class and text, without the arguments of a command that the text may repeat."""
    name = type(error).__name__
    text = str(error).partition("with args beginning with")[0].strip()[:_MAX_TEXT]
    # Outside of its cluster client, redis-py 5 leaves a redirection in the text.
    is_redirected = isinstance(error, AskError) or text.startswith(("MOVED ", "ASK "))
    hint = _MOVED_HINT if is_redirected else ""
    return f"{name}: {text}{hint}" if text else f"{name}{hint}"
