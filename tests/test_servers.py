"""The suite's own Redis servers start, crash, freeze and come back as the tests rely on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from tests.servers import RedisServer, RedisServers, ServerNotStartedError

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("on_unix_socket", [False, True])
def test_a_server_answers_on_its_own_address(
    redis_servers: RedisServers, on_unix_socket: bool
) -> None:
    server = redis_servers.start(on_unix_socket=on_unix_socket, config={"requirepass": "secret"})

    with server.client() as client:
        assert client.execute_command("INFO", "server")["process_id"] == server.pid
    assert server.dsn.startswith("unix://" if on_unix_socket else "redis://")


def test_a_durable_server_keeps_its_data_through_a_crash(redis_servers: RedisServers) -> None:
    server = redis_servers.start(is_durable=True)
    dsn = server.dsn
    with server.client() as client:
        client.execute_command("SET", "kept", "1")

    server.kill()
    server.start()

    with server.client() as client:
        assert client.execute_command("GET", "kept") == "1"
    assert server.dsn == dsn


def test_a_plain_server_forgets_everything_when_restarted(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    with server.client() as client:
        client.execute_command("SET", "lost", "1")

    server.restart()

    with server.client() as client:
        assert client.execute_command("KEYS", "*") == []


def test_a_paused_server_answers_nothing_until_it_is_resumed(redis_servers: RedisServers) -> None:
    server = redis_servers.start()

    with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as connection:
        with server.paused():
            connection.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(16)
        connection.settimeout(5)
        assert connection.recv(16) == b"+PONG\r\n"


def test_leaving_a_server_ends_its_process_also_when_paused(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        pid = server.pid
        server.pause()

    assert not server.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_cannot_start_says_why(redis_servers: RedisServers) -> None:
    with pytest.raises(ServerNotStartedError, match="no-such-option"):
        redis_servers.start(config={"no-such-option": "1"})


def test_a_port_taken_by_somebody_else_is_no_success(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    server.stop()

    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(ServerNotStartedError, match="in use"),
    ):
        server.start()


def test_a_stopped_server_cannot_be_reached(redis_servers: RedisServers) -> None:
    server = redis_servers.start()

    server.stop()

    with server.client() as client, pytest.raises(RedisError):
        client.execute_command("PING")
