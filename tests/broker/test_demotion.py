"""A server that has become a replica is left: the next command looks where its address leads."""

from __future__ import annotations

from typing import Any

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.redis_errors import is_demoted
from redispatcher_fastapi.broker.scripts import POKE
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import BrokerUnavailableError
from redispatcher_fastapi.keys import queue_prefix
from tests.servers import RedisServer, RedisServers, find_free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

POKING: Any = ([queue_prefix("any")], ["", "holder", 1000])


@pytest.fixture
def demoted(redis_servers: RedisServers) -> RedisServer:
    server = redis_servers.start()
    with server.client() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", find_free_port())
    return server


def connections_of(server: RedisServer) -> int:
    with server.client() as admin:
        clients = str(admin.execute_command("CLIENT", "LIST", "TYPE", "normal"))
    return len(clients.splitlines()) - 1


async def test_by_a_client_that_runs_scripts(demoted: RedisServer) -> None:
    async with Connections(parse_dsn(demoted.dsn)) as connections:
        with pytest.raises(BrokerUnavailableError):
            await POKE.run(connections.worker, *POKING)

        await wait_until(lambda: connections_of(demoted) == 0)


async def test_by_the_client_of_a_thread(demoted: RedisServer) -> None:
    with Connections(parse_dsn(demoted.dsn)).heartbeat() as client:
        for _ in range(2):
            with pytest.raises(BrokerUnavailableError):
                POKE.run_blocking(client, *POKING)

        await wait_until(lambda: connections_of(demoted) == 0)


def test_what_redis_6_2_says_of_a_script_is_recognised() -> None:
    text = (
        "Error running script (call to f_x): @user_script:9: @user_script: 9: -READONLY You can't"
    )

    assert is_demoted(Exception(text))
    assert not is_demoted(Exception("ERR wrong number of arguments"))
