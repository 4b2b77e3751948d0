"""A pool finds out before its first job whether Redis lets it do everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager

import pytest

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.rights import POOL_COMMANDS, check_rights
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import BrokerAccessError
from redispatcher_fastapi.keys import queue_prefix
from tests.acl import ROLES
from tests.servers import RedisServer, RedisServers, skip_or_fail

QUEUES = ("first", "second")
WORKER = [f"+{command}" for command in ROLES["worker"].commands]
OURS = ("~rd:*", "resetchannels", "&rd:*")

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with RedisServers(tmp_path_factory.mktemp("rights")) as servers:
        server = servers.start()
        with server.client() as admin:
            script = "return redis.acl_check_cmd and 1 or 0"
            if not admin.execute_command("EVAL", script, 0):
                skip_or_fail("this server cannot be asked for rights", lacking="rights")
        yield server


@asynccontextmanager
async def connected(server: RedisServer, *rules: str) -> AsyncGenerator[Connections]:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pool", "reset", "on", "nopass", *rules)
    async with Connections(parse_dsn(f"redis://pool:x@127.0.0.1:{server.port}")) as connections:
        yield connections


def test_it_asks_for_whatever_the_role_of_a_pool_has() -> None:
    asked = {command.lower() for command in POOL_COMMANDS}

    assert asked == set(ROLES["worker"].commands) - {"eval", "evalsha", "info"}


async def test_a_user_with_the_rights_of_a_pool_is_enough(server: RedisServer) -> None:
    async with connected(server, *OURS, *WORKER) as connections:
        await check_rights(connections, QUEUES)


async def test_rights_on_single_queues_are_enough(server: RedisServer) -> None:
    keys = [f"{mark}{queue_prefix(queue)}*" for queue in QUEUES for mark in "~&"]

    async with connected(server, "resetchannels", *keys, *WORKER) as connections:
        await check_rights(connections, QUEUES)


@pytest.mark.parametrize("command", POOL_COMMANDS)
async def test_a_command_that_is_missing_is_named(server: RedisServer, command: str) -> None:
    async with connected(server, *OURS, *WORKER, f"-{command}") as connections:
        with pytest.raises(BrokerAccessError, match=rf"may not use {command} on .* of first, sec"):
            await check_rights(connections, QUEUES)


async def test_a_channel_that_is_missing_shows(server: RedisServer) -> None:
    async with connected(server, "~rd:*", "resetchannels", *WORKER) as connections:
        with pytest.raises(BrokerAccessError, match="may not use PUBLISH on"):
            await check_rights(connections, QUEUES)


async def test_a_queue_whose_keys_are_another_ones_shows(server: RedisServer) -> None:
    keys = f"~{queue_prefix('first')}*"

    async with connected(server, keys, "&rd:*", *WORKER) as connections:
        with pytest.raises(BrokerAccessError, match="Permissions in Redis"):
            await check_rights(connections, QUEUES)
