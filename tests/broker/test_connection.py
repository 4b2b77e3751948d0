"""Connections: every kind of address, every option set, and who closes what."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS
from redispatcher_fastapi.broker.server_check import check_information, check_server
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerUnavailableError,
    ConfigurationError,
)
from tests.servers import RedisServer, RedisServers, find_free_port
from tests.topologies import cluster_dsn, running_sentinel, start_cluster, tls_server
from tests.waiting import wait_until, wait_until_blocking


async def run(client: Any, *command: Any) -> Any:
    """Run a command; redis-py's own annotations say nothing of the answer."""
    return await client.execute_command(*command)


def connect(dsn: str, *, decode_responses: bool) -> Redis:
    address = parse_dsn(dsn).addresses[0]
    return Redis(host=address.host, port=address.port, decode_responses=decode_responses)


def protocol_in(hello: Any) -> int:
    """Return the protocol of a connection, out of what HELLO answers on it."""
    fields: list[Any] = [*chain(*hello.items())] if hasattr(hello, "items") else hello
    return int(fields[fields.index(b"proto") + 1])


async def ping(client: Any) -> bool:
    return bool(await run(client, "PING"))


class TestEveryAddress:
    async def test_all_clients_reach_the_same_store(self, redis_dsn: str) -> None:
        async with Connections(parse_dsn(redis_dsn)) as connections:
            await run(connections.publisher, "SET", "a", "1")
            blocking = connections.blocking()
            with connections.heartbeat() as heartbeat:
                answers = [
                    await run(connections.worker, "GET", "a"),
                    await run(blocking, "GET", "a"),
                    heartbeat.execute_command("GET", "a"),
                ]
            await blocking.aclose()

            assert answers == [b"1"] * 3
            assert not connections.is_cluster

    async def test_the_two_shared_clients_are_made_once_and_are_not_the_same(
        self, redis_dsn: str
    ) -> None:
        async with Connections(parse_dsn(redis_dsn)) as connections:
            assert connections.publisher is connections.publisher
            assert connections.worker is connections.worker
            assert connections.publisher is not connections.worker
            assert connections.blocking() is not connections.blocking()

    @pytest.mark.redis
    async def test_a_unix_socket_with_a_password(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start(config={"requirepass": "p@ss"}, on_unix_socket=True)
        dsn = server.dsn.replace("p@ss", "p%40ss")

        async with Connections(parse_dsn(dsn)) as connections:
            with connections.heartbeat() as heartbeat:
                assert await ping(connections.publisher)
                assert heartbeat.execute_command("PING")

    @pytest.mark.redis
    async def test_the_database_and_the_name_of_the_client_are_used(
        self, redis_server: RedisServer
    ) -> None:
        dsn = parse_dsn(f"redis://127.0.0.1:{redis_server.port}/3?client_name=app&protocol=3")

        async with Connections(dsn) as connections:
            info = await run(connections.worker, "CLIENT", "INFO")
            protocol = protocol_in(await run(connections.worker, "HELLO"))

        assert b" db=3 " in info
        assert b" name=app " in info
        assert protocol == 3

    @pytest.mark.redis
    async def test_resp2_is_the_default_whatever_redis_py_thinks(
        self, redis_server: RedisServer
    ) -> None:
        dsn = parse_dsn(f"redis://127.0.0.1:{redis_server.port}")
        async with Connections(dsn) as connections:
            with connections.heartbeat() as heartbeat:
                answers = [
                    await run(connections.worker, "HELLO"),
                    heartbeat.execute_command("HELLO"),
                ]

        assert [protocol_in(answer) for answer in answers] == [2, 2]


class TestMemory:
    async def test_each_unnamed_store_is_a_new_one(self) -> None:
        async with (
            Connections(parse_dsn("memory://")) as one,
            Connections(parse_dsn("memory://")) as other,
        ):
            await run(one.publisher, "SET", "a", "1")

            assert await run(other.publisher, "GET", "a") is None

    async def test_a_named_store_is_shared_and_outlives_its_connections(self) -> None:
        async with Connections(parse_dsn("memory://shared-by-two")) as connections:
            await run(connections.publisher, "SET", "a", "1")
        async with Connections(parse_dsn("memory://shared-by-two")) as connections:
            assert await run(connections.publisher, "GET", "a") == b"1"

    @pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
    def test_without_its_extra_it_says_what_to_install(
        self, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, missing, None)

        with pytest.raises(ConfigurationError, match=r"pip install '.*\[memory\]'"):
            Connections(parse_dsn("memory://"))


@pytest.mark.redis
class TestNothingIsRepeated:
    async def test_a_frozen_server_costs_one_time_out(self, redis_server: RedisServer) -> None:
        connections = Connections(
            parse_dsn(redis_server.dsn), command_timeout=timedelta(milliseconds=300)
        )
        loop = asyncio.get_running_loop()
        async with connections:
            with connections.heartbeat() as heartbeat:
                await ping(connections.publisher)
                heartbeat.execute_command("PING")
                with redis_server.paused():
                    started = loop.time()
                    with pytest.raises(REDIS_ERRORS):
                        await ping(connections.publisher)
                    with pytest.raises(REDIS_ERRORS):
                        heartbeat.execute_command("PING")
                    took = loop.time() - started

        assert 0.6 <= took < 1.2

    async def test_a_lost_reply_leaves_one_write(self, redis_server: RedisServer) -> None:
        connections = Connections(
            parse_dsn(redis_server.dsn), command_timeout=timedelta(milliseconds=200)
        )
        async with connections, Connections(parse_dsn(redis_server.dsn)) as patient:
            await run(patient.publisher, "DEL", "list")
            await ping(connections.publisher)
            with redis_server.paused(), pytest.raises(REDIS_ERRORS):
                await run(connections.publisher, "RPUSH", "list", "a")

            async def has_arrived() -> bool:
                return bool(await run(patient.publisher, "LLEN", "list"))

            await wait_until(has_arrived)
            assert await run(patient.publisher, "LLEN", "list") == 1

    async def test_a_blocking_read_may_take_as_long_as_it_was_asked_to(
        self, redis_server: RedisServer
    ) -> None:
        connections = Connections(
            parse_dsn(redis_server.dsn), command_timeout=timedelta(milliseconds=200)
        )
        async with connections:
            client = connections.blocking(timedelta(milliseconds=500))

            assert await run(client, "BLPOP", "nothing-comes", 0.4) is None
            with pytest.raises(REDIS_ERRORS):
                await run(client, "BLPOP", "nothing-comes", 5)
            await client.aclose()

    async def test_a_server_that_is_gone_fails_at_once(self) -> None:
        async with Connections(parse_dsn(f"redis://127.0.0.1:{find_free_port()}")) as connections:
            started = asyncio.get_running_loop().time()
            with pytest.raises(REDIS_ERRORS):
                await ping(connections.publisher)

            assert asyncio.get_running_loop().time() - started < 1


class TestClientsOfTheCaller:
    @pytest.mark.redis
    @pytest.mark.parametrize("decode_responses", [False, True])
    async def test_they_are_used_as_they_are_and_stay_open(
        self, redis_server: RedisServer, decode_responses: bool
    ) -> None:
        client = connect(redis_server.dsn, decode_responses=decode_responses)
        async with Connections.around(client) as connections:
            assert connections.publisher is client
            assert connections.worker is client
            await ping(client)

        pool: Any = client.connection_pool
        async with client:
            assert pool._available_connections[0].is_connected

    def test_a_cluster_client_is_recognised(self) -> None:
        client = RedisCluster(host="127.0.0.1", port=1)

        assert Connections.around(client).is_cluster

    def test_a_pool_cannot_be_run_with_them(self) -> None:
        connections = Connections.around(Redis())

        for make in (connections.blocking, connections.heartbeat):
            with pytest.raises(ConfigurationError, match="needs a redis_dsn"):
                make()


@pytest.mark.redis
class TestClosing:
    async def test_leaving_closes_what_was_made(self, redis_server: RedisServer) -> None:
        with redis_server.client() as admin:
            before = _count_clients(admin)
            async with Connections(parse_dsn(redis_server.dsn)) as connections:
                await ping(connections.publisher)
                await ping(connections.worker)
                assert _count_clients(admin) == before + 2

            wait_until_blocking(lambda: _count_clients(admin) == before)

    async def test_it_can_be_used_again_afterwards(self, redis_server: RedisServer) -> None:
        connections = Connections(parse_dsn(redis_server.dsn))
        for _ in range(2):
            async with connections:
                assert await ping(connections.publisher)

    async def test_nothing_connects_before_it_is_used(self) -> None:
        async with Connections(parse_dsn("redis://127.0.0.1:1")) as connections:
            clients = [connections.publisher, connections.worker, connections.blocking()]

            assert len(clients) == 3


@pytest.mark.redis
class TestTls:
    async def test_the_certificate_is_checked(
        self, redis_servers: RedisServers, tmp_path: Path
    ) -> None:
        async with tls_server(redis_servers, tmp_path) as (_, port):
            trusting = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
            async with Connections(parse_dsn(trusting)) as connections:
                with connections.heartbeat() as heartbeat:
                    assert await ping(connections.publisher)
                    assert heartbeat.execute_command("PING")
            async with Connections(parse_dsn(f"rediss://localhost:{port}")) as connections:
                with pytest.raises(ConfigurationError, match="ssl_ca_certs"):
                    await check_server(connections)

    async def test_so_is_the_name_of_the_host(
        self, redis_servers: RedisServers, tmp_path: Path
    ) -> None:
        async with tls_server(redis_servers, tmp_path) as (_, port):
            dsn = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
            async with Connections(parse_dsn(dsn)) as connections:
                with pytest.raises(ConfigurationError, match="host name"):
                    await check_server(connections)
            async with Connections(parse_dsn(f"{dsn}&ssl_check_hostname=false")) as connections:
                assert await ping(connections.publisher)

    async def test_no_check_at_all_is_possible_and_warned_of(
        self, redis_servers: RedisServers, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "redispatcher")
        async with tls_server(redis_servers, tmp_path) as (_, port):
            dsn = parse_dsn(f"rediss://:x@127.0.0.1:{port}?ssl_cert_reqs=none")
            async with Connections(dsn) as connections:
                # The server has no password: it answers, and refuses this one.
                with pytest.raises(BrokerAccessError):
                    await check_server(connections)

        assert "not checked" in caplog.text
        assert ":x@" not in caplog.text


@pytest.mark.redis
class TestCluster:
    async def test_commands_go_to_the_nodes_of_their_keys(
        self, redis_servers: RedisServers
    ) -> None:
        dsn = parse_dsn(cluster_dsn(start_cluster(redis_servers)))
        async with Connections(dsn) as connections:
            with connections.heartbeat() as heartbeat:
                await run(connections.publisher, "SET", "rd:{a}:x", "1")
                answers = [
                    await run(connections.worker, "GET", "rd:{a}:x"),
                    heartbeat.execute_command("GET", "rd:{a}:x"),
                ]

            assert connections.is_cluster
            assert answers == [b"1", b"1"]
            assert await check_server(connections) == [
                "Redis keeps no append-only file: what was published since its last snapshot is "
                "lost when it stops. Set appendonly to yes."
            ]

    async def test_a_plain_address_of_a_cluster_is_warned_of(
        self, redis_servers: RedisServers
    ) -> None:
        dsn = parse_dsn(start_cluster(redis_servers)[0].dsn)
        async with Connections(dsn) as connections:
            warnings = await check_server(connections)

        assert any("redis+cluster://" in warning for warning in warnings)

    def test_the_heartbeat_of_an_unreachable_cluster_fails_at_its_first_command(self) -> None:
        dsn = parse_dsn(f"redis+cluster://127.0.0.1:{find_free_port()}")

        with Connections(dsn).heartbeat() as heartbeat, pytest.raises(REDIS_ERRORS):
            heartbeat.execute_command("PING")

    async def test_an_unreachable_cluster_is_unavailable(self) -> None:
        dsn = parse_dsn(f"redis+cluster://127.0.0.1:{find_free_port()}")
        async with Connections(dsn) as connections:
            with pytest.raises(BrokerUnavailableError):
                await check_server(connections)


@pytest.mark.redis
class TestSentinel:
    async def test_the_master_is_found_and_found_anew_after_a_failover(
        self, redis_servers: RedisServers, tmp_path: Path
    ) -> None:
        first = redis_servers.start(config={"requirepass": "p"})
        second = redis_servers.start(config={"requirepass": "p"})
        with running_sentinel(tmp_path, first) as sentinel:
            # The first sentinel of the list is away.
            dsn = parse_dsn(sentinel.dsn(before=f"127.0.0.1:{find_free_port()},"))
            async with Connections(dsn) as connections:
                with connections.heartbeat() as heartbeat:
                    assert await _port_of(connections.publisher) == first.port
                    assert await check_server(connections)

                    first.kill()
                    sentinel.point_to(second)
                    with suppress(*REDIS_ERRORS):  # redis-py may notice before it sends
                        await ping(connections.publisher)

                    assert await _port_of(connections.publisher) == second.port
                    answer = heartbeat.execute_command("CONFIG", "GET", "port")
                    assert int(answer[1]) == second.port

    async def test_no_sentinel_at_all_is_unavailable(self) -> None:
        dsn = parse_dsn(f"redis+sentinel://127.0.0.1:{find_free_port()}/my-master")
        async with Connections(dsn) as connections:
            with pytest.raises(BrokerUnavailableError):
                await check_server(connections)


class TestCheckServer:
    async def test_memory_has_nothing_to_be_warned_of(self) -> None:
        async with Connections(parse_dsn("memory://")) as connections:
            assert await check_server(connections) == []

    @pytest.mark.redis
    async def test_a_durable_server_has_nothing_to_be_warned_of(
        self, redis_servers: RedisServers
    ) -> None:
        server = redis_servers.start(is_durable=True)
        async with Connections(parse_dsn(server.dsn)) as connections:
            assert await check_server(connections) == []

    @pytest.mark.redis
    async def test_a_client_that_decodes_is_checked_as_well(
        self, redis_servers: RedisServers
    ) -> None:
        server = redis_servers.start(is_durable=True)
        async with connect(server.dsn, decode_responses=True) as client:
            assert await check_server(Connections.around(client)) == []

    @pytest.mark.redis
    async def test_an_evicting_server_without_a_file_is_warned_of(
        self, redis_servers: RedisServers
    ) -> None:
        server = redis_servers.start(
            config={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
        )
        async with Connections(parse_dsn(server.dsn)) as connections:
            warnings = await check_server(connections)

        assert len(warnings) == 2
        assert "maxmemory-policy allkeys-lru" in warnings[0]
        assert "append-only" in warnings[1]

    @pytest.mark.redis
    async def test_info_may_be_forbidden(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start()
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">p", "~rd:*", "+eval")
        dsn = server.dsn.replace("redis://", "redis://app:p@")

        async with Connections(parse_dsn(dsn)) as connections:
            assert await check_server(connections) == []

    @pytest.mark.redis
    @pytest.mark.parametrize(
        ("permissions", "password"),
        [(("~rd:*", "+info"), "p"), (("~other:*", "+eval"), "p"), (("~*", "+@all"), "wrong")],
        ids=["no scripts", "no keys", "wrong password"],
    )
    async def test_missing_rights_are_refused(
        self, redis_servers: RedisServers, permissions: tuple[str, ...], password: str
    ) -> None:
        server = redis_servers.start()
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">p", *permissions)
        dsn = server.dsn.replace("redis://", f"redis://app:{password}@")

        async with Connections(parse_dsn(dsn)) as connections:
            with pytest.raises(BrokerAccessError):
                await check_server(connections)

    async def test_a_server_that_does_not_answer_is_unavailable(self) -> None:
        async with Connections(parse_dsn(f"redis://127.0.0.1:{find_free_port()}")) as connections:
            with pytest.raises(BrokerUnavailableError):
                await check_server(connections)

    @pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2.8"])
    def test_an_old_server_is_refused(self, version: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"Redis {version}; .* 6\.2"):
            check_information({"redis_version": version}, is_cluster=False)

    @pytest.mark.parametrize("version", ["6.2.0", "7.2.4", "8.0-rc1", "255.255.255", "unknown", ""])
    def test_a_newer_or_unknown_server_is_taken(self, version: str) -> None:
        assert check_information({"redis_version": version}, is_cluster=False) == []

    @pytest.mark.parametrize("reply", [{}, None, b"redis_version:1", {"a": 1}])
    def test_an_answer_that_says_nothing_is_no_warning(self, reply: Any) -> None:
        assert check_information(reply, is_cluster=False) == []

    def test_each_node_of_a_cluster_is_looked_at_and_each_warning_given_once(self) -> None:
        node = {"redis_version": "7.0.0", "aof_enabled": 0, "cluster_enabled": 1}
        old = {"redis_version": "6.0.0"}

        assert len(check_information({"a": node, "b": node}, is_cluster=True)) == 1
        with pytest.raises(ConfigurationError):
            check_information({"a": node, "b": old}, is_cluster=True)

    def test_a_replica_is_warned_of(self) -> None:
        information = {"redis_version": "7.0.0", "role": "slave"}

        assert "replica" in check_information(information, is_cluster=False)[0]


def _count_clients(admin: Any) -> int:
    return len(str(admin.execute_command("CLIENT", "LIST")).splitlines())


async def _port_of(client: Any) -> int:
    return int((await run(client, "CONFIG", "GET", "port"))[1])
