"""Which of our errors each of redis-py's becomes."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from redis import exceptions as theirs
from redis._parsers.base import BaseParser
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff

from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, translate
from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerError,
    BrokerMemoryError,
    BrokerUnavailableError,
)
from tests.servers import RedisServer, RedisServers


def reply(text: str) -> Exception:
    """Return what redis-py makes of an error reply."""
    parser: Any = BaseParser
    error: Exception = parser.parse_error(text)
    return error


@pytest.mark.parametrize(
    "error",
    [
        theirs.ConnectionError("Connection closed by server."),
        theirs.TimeoutError("Timeout reading from socket"),
        theirs.MaxConnectionsError("Too many connections"),
        theirs.InvalidResponse("Protocol Error"),
        theirs.SlotNotCoveredError("Command # 1 uses slot 5 which is not covered"),
        theirs.RedisClusterException("Redis Cluster cannot be connected. Please provide a node"),
        MasterNotFoundError("No master found for 'm'"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        socket.gaierror(8, "unknown host"),
        asyncio.IncompleteReadError(b"", 1),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>"),
        AttributeError("'NoneType' object has no attribute 'writelines'"),
        *map(
            reply,
            [
                "LOADING Redis is loading the dataset in memory",
                "READONLY You can't write against a read only replica.",
                "MASTERDOWN Link with MASTER is down",
                "CLUSTERDOWN The cluster is down",
                "TRYAGAIN Multiple keys request during rehashing of slot",
                "MOVED 3999 127.0.0.1:6381",
                "ASK 3999 127.0.0.1:6381",
                "NOSCRIPT No matching script.",
                "NOREPLICAS Not enough good replicas to write.",
                "MISCONF Redis is configured to save RDB snapshots",
                "BUSY Redis is busy running a script.",
                "UNBLOCKED force unblock from blocking operation, instance state changed",
                "ERR max number of clients reached",
                "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: "
                "-READONLY You can't write against a read only replica.",
            ],
        ),
    ],
    ids=repr,
)
def test_what_a_repetition_can_heal_is_unavailable(error: Exception) -> None:
    assert type(translate(error)) is BrokerUnavailableError


@pytest.mark.parametrize(
    "text",
    [
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "NOPERM this user has no permissions to run the 'eval' command",
        "ERR invalid password",
        "ERR wrong number of arguments for 'auth' command",
        "ERR The user executing the script can't run this command or subcommand script: f_1",
        "ERR ACL failure in script: User default has no permissions to run the 'lpush' command",
    ],
)
def test_what_takes_an_operator_is_a_question_of_access(text: str) -> None:
    assert type(translate(reply(text))) is BrokerAccessError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "NOPERM this user has no permissions to run the 'eval' command",
            "'eval' command. This user of Redis lacks a command or a key that the library needs: "
            "see 'Permissions in Redis' in the reference.",
        ),
        (
            "ERR The user executing the script can't run this command or subcommand script: f_1.",
            "script: f_1. This user of Redis lacks a command or a key that the library needs: see "
            "'Permissions in Redis' in the reference.",
        ),
        ("NOAUTH Authentication required.", "required. Check user and password in the DSN."),
        ("ERR invalid password", "password. Check user and password in the DSN."),
    ],
)
def test_a_question_of_access_says_what_to_look_at(text: str, hint: str) -> None:
    assert str(translate(reply(text))).endswith(hint)


@pytest.mark.parametrize(
    "text",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR Error running script (call to f_1): @user_script:7: @user_script: 7: "
        "-OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
def test_a_full_redis_is_a_question_of_memory(text: str) -> None:
    assert type(translate(reply(text))) is BrokerMemoryError


@pytest.mark.parametrize(
    "error",
    [
        reply("WRONGTYPE Operation against a key holding the wrong kind of value"),
        reply("ERR unknown command"),
        reply("ERR value is not an integer or out of range"),
        reply("CROSSSLOT Keys in request don't hash to the same slot"),
        theirs.RedisClusterException("Argument 'db' must be 0 or None in cluster mode"),
        theirs.DataError("Invalid input of type"),
        ValueError("anything else"),
    ],
    ids=repr,
)
def test_everything_else_is_a_plain_broker_error(error: Exception) -> None:
    assert type(translate(error)) is BrokerError


def test_our_own_errors_pass_as_they_are() -> None:
    ours = BrokerMemoryError("full")

    assert translate(ours) is ours


def test_the_text_says_what_happened_without_the_arguments_of_the_command() -> None:
    error = reply("ERR unknown command 'EVALX', with args beginning with: 'hunter2' 'x' ")
    text = str(translate(error))

    assert text.startswith("ResponseError: unknown command 'EVALX'")
    assert "hunter2" not in text


def test_the_text_is_bounded() -> None:
    assert len(str(translate(theirs.ResponseError("x" * 10_000)))) < 400


def test_a_redirection_hints_at_the_dsn_of_a_cluster() -> None:
    assert "redis+cluster://" in str(translate(reply("MOVED 3999 127.0.0.1:6381")))


def test_every_error_of_the_cluster_client_is_among_those_to_catch() -> None:
    assert issubclass(theirs.RedisClusterException, REDIS_ERRORS)
    assert issubclass(theirs.ClusterDownError, REDIS_ERRORS)


@pytest.mark.redis
class TestOnAServer:
    """What a real server answers, so that the texts above are not invented."""

    async def test_a_full_server_also_inside_a_script(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start(config={"maxmemory": "1", "maxmemory-policy": "noeviction"})
        # Scripts that set no flags are refused before they run, commands inside of them while.
        source = "redis.call('PING') return redis.call('SET', KEYS[1], ARGV[1])"
        async with _connect(server) as client:
            errors = [
                await _error_of(client, "SET", "a", "b"),
                await _error_of(client, "EVAL", source, 1, "a", "b"),
            ]

        assert [type(translate(error)) for error in errors] == [BrokerMemoryError] * 2

    async def test_a_wrong_password_and_a_missing_permission(
        self, redis_servers: RedisServers
    ) -> None:
        server = redis_servers.start(config={"requirepass": "right"})
        with server.client() as admin:
            admin.execute_command(
                "ACL", "SETUSER", "weak", "on", ">p", "~rd:*", "+eval", "+get", "+client"
            )
        async with _connect(server) as client:
            errors = [await _error_of(client, "GET", "rd:a")]
        async with _connect(server, password="wrong") as client:
            errors += [await _error_of(client, "GET", "rd:a")]
        async with _connect(server, username="weak", password="p") as client:
            errors += [
                await _error_of(client, "SET", "rd:a", "b"),
                await _error_of(client, "GET", "other"),
                await _error_of(client, "EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "rd:a"),
                await _error_of(client, "EVAL", "return redis.call('GET', 'other')", 1, "rd:a"),
            ]

        assert [type(translate(error)) for error in errors] == [BrokerAccessError] * 6

    async def test_a_replica_also_inside_a_script(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start(config={"replicaof": ("127.0.0.1", "1")})
        async with _connect(server) as client:
            errors = [
                await _error_of(client, "SET", "a", "b"),
                await _error_of(client, "EVAL", "return redis.call('SET', KEYS[1], 1)", 1, "a"),
            ]

        assert [type(translate(error)) for error in errors] == [BrokerUnavailableError] * 2


def _connect(
    server: RedisServer, *, username: str | None = None, password: str | None = None
) -> Redis:
    once = Retry(NoBackoff(), 0)
    return Redis(port=server.port, username=username, password=password, retry=once)


async def _error_of(client: Any, *command: Any) -> Exception:
    with pytest.raises(REDIS_ERRORS) as caught:
        await client.execute_command(*command)
    return caught.value
