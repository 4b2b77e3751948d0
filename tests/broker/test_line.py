"""A line runs commands like a client, and never hands out the reply to somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redispatcher_fastapi.broker import line as line_module
from redispatcher_fastapi.broker.line import Line
from tests.servers import CommandClient, RedisServer, RedisServers, find_free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.redis


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


@pytest.fixture
async def line(server: RedisServer) -> AsyncIterator[Line]:
    line = open_line(server)
    yield line
    await line.aclose()


def open_line(server: RedisServer, *, timeout: timedelta = timedelta(seconds=5)) -> Line:
    return Line(Redis(port=server.port, socket_timeout=None), timeout)


async def count_connections(line: Line) -> int:
    """How many clients the server has, this one included."""
    clients: bytes = await line.execute_command("CLIENT", "LIST", "TYPE", "normal")
    return clients.count(b"\n")


@pytest.mark.parametrize("is_packed_by_hiredis", [True, False])
async def test_it_returns_what_the_server_replies(
    line: Line, is_packed_by_hiredis: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_packed_by_hiredis:
        monkeypatch.setattr(line_module, "_pack", None)
    large = b"x" * 1_000_000

    await line.execute_command("SET", "large", large)

    assert await line.execute_command("GET", "large") == large
    assert await line.execute_command("EVAL", "return {1, ARGV[1], false}", 0, "é") == [
        1,
        "é".encode(),
        None,
    ]


async def test_one_connection_serves_calls_one_after_another(line: Line) -> None:
    ids = {await line.execute_command("CLIENT", "ID") for _ in range(5)}

    assert len(ids) == 1


async def test_calls_at_the_same_time_get_their_own_replies(line: Line) -> None:
    replies = await asyncio.gather(*(line.execute_command("ECHO", n) for n in range(50)))

    assert replies == [str(n).encode() for n in range(50)]


async def test_an_error_of_the_server_leaves_the_connection_as_it_is(line: Line) -> None:
    before = await line.execute_command("CLIENT", "ID")

    with pytest.raises(ResponseError, match="unknown command"):
        await line.execute_command("NONSENSE")

    assert await line.execute_command("CLIENT", "ID") == before


async def test_a_server_that_does_not_answer_raises_a_timeout(server: RedisServer) -> None:
    line = open_line(server, timeout=timedelta(seconds=0.05))
    before = await line.execute_command("CLIENT", "ID")

    with pytest.raises(RedisTimeoutError):
        await line.execute_command("BLPOP", "nothing", 1)

    assert await line.execute_command("CLIENT", "ID") != before
    await line.aclose()


async def test_a_cancelled_call_gives_its_connection_up(line: Line) -> None:
    async def wait() -> Any:
        return await line.execute_command("BLPOP", "list", 0)

    task = asyncio.create_task(wait())
    while await blocked_clients(line) == 0:
        pass

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    while await blocked_clients(line) > 0:
        pass
    await line.execute_command("RPUSH", "list", "for nobody")
    assert await line.execute_command("LLEN", "list") == 1
    assert await count_connections(line) == 1


async def blocked_clients(line: Line) -> int:
    information: bytes = await line.execute_command("INFO", "clients")
    return int(information.split(b"blocked_clients:")[1].split(b"\r")[0])


async def test_connections_that_the_server_closed_are_not_used(
    server: RedisServer, line: Line
) -> None:
    other = open_line(server)
    await asyncio.gather(*(line.execute_command("PING") for _ in range(3)))
    await other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    while await count_connections(other) > 1:
        pass

    assert await line.execute_command("PING") == b"PONG"

    await other.aclose()


async def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    line = Line(Redis(port=find_free_port(), socket_timeout=None), timedelta(seconds=5))

    with pytest.raises(RedisConnectionError):
        await line.execute_command("PING")

    await line.aclose()


async def test_it_closes_its_connections(server: RedisServer, line: Line) -> None:
    closed = open_line(server)
    await asyncio.gather(*(closed.execute_command("PING") for _ in range(5)))
    assert await count_connections(line) == 6

    await closed.aclose()

    while await count_connections(line) > 1:
        pass


@pytest.mark.parametrize("is_held", [False, True])
async def test_all_connections_to_a_server_that_has_become_a_replica_are_closed(
    redis_servers: RedisServers, is_held: bool
) -> None:
    demoted = redis_servers.start()
    line = open_line(demoted)
    await asyncio.gather(*(line.execute_command("PING") for _ in range(3)))
    with demoted.client() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", find_free_port())

        async with line.hold() as held:
            with pytest.raises(ReadOnlyError):
                await (held if is_held else line).execute_command("SET", "key", "value")

        # A held connection is left for itself.
        await wait_until(lambda: count_other_clients(admin) == (0 if is_held else 1))
    await line.aclose()


def count_other_clients(admin: CommandClient) -> int:
    clients = str(admin.execute_command("CLIENT", "LIST", "TYPE", "normal"))
    return len(clients.splitlines()) - 1
