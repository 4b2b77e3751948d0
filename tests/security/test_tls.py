"""``rediss`` checks the certificate and the name, for every kind of address and every client."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from redispatcher_fastapi import BaseConsumer, ConfigurationError, ConsumerPool, RedispatcherConfig
from redispatcher_fastapi.broker import clients
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.dsn import parse_dsn
from tests.servers import RedisServers
from tests.topologies import tls_server


class Ping(BaseConsumer):
    QUEUE = "ping-safely"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


ADDRESSES = ["rediss://h", "rediss+sentinel://h/my-master", "rediss+cluster://h"]
SECOND = timedelta(seconds=1)


class Recorder:
    """Stands in for every class of redis-py that connects, and keeps what it was given."""

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []

    def __call__(self, *places: Any, **options: Any) -> Recorder:
        self.options.append({**options, **options.get("sentinel_kwargs", {})})
        return self

    master_for = __call__

    def execute_command(self, *command: Any) -> None: ...


def takes_nothing(client: object, parameter: str) -> bool:
    return False


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    for name in ("AsyncRedis", "AsyncRedisCluster", "_async_sentinel", "_sync_sentinel"):
        monkeypatch.setattr(clients, name, recorder)
    monkeypatch.setattr(clients, "_sync_cluster", recorder)
    monkeypatch.setattr("redis.Redis", recorder)
    monkeypatch.setattr(clients, "_takes", takes_nothing)
    return recorder


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_client_checks_certificate_and_name_unless_told_otherwise(
    address: str, recorder: Recorder
) -> None:
    dsn = parse_dsn(address)
    sentinel = (
        clients.make_async_sentinel(dsn, connect_timeout=SECOND) if dsn.kind == "sentinel" else None
    )
    clients.make_async_client(dsn, read_timeout=SECOND, connect_timeout=SECOND, sentinel=sentinel)
    client = clients.make_sync_client(dsn, read_timeout=SECOND, connect_timeout=SECOND)
    client.execute_command("PING")  # the client of a cluster is made no earlier

    assert len(recorder.options) == (4 if dsn.kind == "sentinel" else 2)
    for options in recorder.options:
        assert options["ssl"] is True
        assert options["ssl_cert_reqs"] == "required"
        assert options["ssl_check_hostname"] is True


@pytest.mark.parametrize("address", ["redis://h", "unix:///s", "redis+cluster://h"])
def test_tls_options_are_refused_where_there_is_no_tls(address: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_dsn(f"{address}?ssl_ca_certs=/ca.pem")


@pytest.mark.redis
@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1"], ids=["an unknown authority", "another name"]
)
async def test_a_pool_ends_before_it_trusts_a_certificate_it_cannot_check(
    host: str, redis_servers: RedisServers, tmp_path: Path
) -> None:
    async with tls_server(redis_servers, tmp_path) as (_, port):
        ca = "" if host == "localhost" else f"?ssl_ca_certs={tmp_path / 'ca.pem'}"
        config = RedispatcherConfig(redis_dsn=f"rediss://{host}:{port}{ca}", consumers=[Ping])

        with pytest.raises(ConfigurationError, match="certificate of Redis is not accepted"):
            await ConsumerPool(config).run()


def test_leaving_the_check_out_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "redispatcher"):
        Connections(parse_dsn("rediss://app:secret@h?ssl_cert_reqs=none"))

    assert "The certificate of Redis is not checked" in caplog.text
    assert "secret" not in caplog.text
