"""A password of Redis, or a key, is in no log, no repr, no error and no traceback."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import BaseModel, SecretStr, ValidationError
from redis.asyncio import Redis

from redispatcher_fastapi import (
    BaseConsumer,
    BrokerAccessError,
    ConfigurationError,
    ConsumerPool,
    PublishError,
    Redispatcher,
    RedispatcherConfig,
    RedispatcherError,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.server_check import check_server
from redispatcher_fastapi.logs import JsonFormatter, TerminalFormatter
from tests.cli.programs import Program
from tests.security.keys import KEY, both
from tests.servers import RedisServers, find_free_port
from tests.topologies import cluster_dsn, running_sentinel, start_cluster, tls_server
from tests.waiting import wait_until

SECRET = "hunter2-SECRET"
QUICKLY = timedelta(milliseconds=300)


class Ping(BaseConsumer):
    QUEUE = "ping"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


@asynccontextmanager
async def failing_address(
    how: str, servers: RedisServers, folder: Path
) -> AsyncGenerator[str, None]:
    """Provide an address with a password at which nothing can be done."""
    match how:
        case "refused":
            yield f"redis://app:{SECRET}@127.0.0.1:{find_free_port()}/0"
        case "wrong password":
            server = servers.start(config={"requirepass": "right"})
            yield f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
        case "unknown user":
            server = servers.start(config={"requirepass": "right"})
            yield f"redis://nobody:{SECRET}@127.0.0.1:{server.port}/0"
        case "password not needed":
            server = servers.start()
            yield f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
        case "certificate":
            async with tls_server(servers, folder) as (_, port):
                yield f"rediss://:{SECRET}@localhost:{port}/0"
        case "tls spoken to plain":
            server = servers.start(config={"requirepass": SECRET})
            yield f"rediss://:{SECRET}@127.0.0.1:{server.port}/0"
        case "unix socket":
            yield f"unix://app:{SECRET}@{folder / 'no.sock'}"
        case "sentinel refused":
            port = find_free_port()
            yield (
                f"redis+sentinel://app:{SECRET}@127.0.0.1:{port}/my-master/0"
                f"?sentinel_password={SECRET}"
            )
        case "sentinel password":
            master = servers.start(config={"requirepass": "p"})
            with running_sentinel(folder, master) as sentinel:
                address = sentinel.dsn().replace(
                    "sentinel_password=s", f"sentinel_password={SECRET}"
                )
                yield address.replace(":p@", f":{SECRET}@")
        case "master password":
            master = servers.start(config={"requirepass": "p"})
            with running_sentinel(folder, master) as sentinel:
                yield sentinel.dsn().replace(":p@", f":{SECRET}@")
        case "cluster refused":
            yield f"redis+cluster://app:{SECRET}@127.0.0.1:{find_free_port()}"
        case _:
            nodes = start_cluster(servers)
            with nodes[0].client() as admin:
                admin.execute_command("CONFIG", "SET", "requirepass", "right")
            yield cluster_dsn(nodes).replace("://", f"://:{SECRET}@")


HOWS = [
    "refused",
    "wrong password",
    "unknown user",
    "password not needed",
    "certificate",
    "tls spoken to plain",
    "unix socket",
    "sentinel refused",
    "sentinel password",
    "master password",
    "cluster refused",
    "cluster password",
]


def tell(error: BaseException) -> str:
    """Return all that an application's log or an error tracker shows of an exception."""
    whole = traceback.TracebackException.from_exception(error)
    return f"{error!r}{error}{error.args}{''.join(whole.format())}"


def tell_log(caplog: pytest.LogCaptureFixture) -> str:
    formatters = [JsonFormatter(), TerminalFormatter(has_colours=True), logging.Formatter()]
    lines = [formatter.format(each) for each in caplog.records for formatter in formatters]
    return "\n".join([caplog.text, *lines, *(str(vars(each)) for each in caplog.records)])


async def attempt_everything(dsn: str) -> str:
    """Return what all that an application does with Redis tells when it fails."""
    config = RedispatcherConfig(redis_dsn=dsn, consumers=[Ping], publish_timeout=QUICKLY)
    told = [repr(config), str(config), repr(config.dsn), str(config.model_dump())]
    dispatcher = Redispatcher(config)
    told += [repr(dispatcher), repr(vars(dispatcher))]
    async with dispatcher.lifespan():
        publisher = dispatcher.publisher(Ping)
        for operation in (
            lambda: publisher.publish(Ping.Message()),
            lambda: publisher.publish_many([Ping.Message()]),
            lambda: publisher.job("a").state(),
            lambda: publisher.job("a").result(QUICKLY),
            lambda: dispatcher.inspector.counts("ping"),
        ):
            try:
                with anyio.fail_after(20):
                    await operation()
            except (RedispatcherError, TimeoutError) as error:
                told.append(tell(error))
    pool = ConsumerPool(config)
    told.append(repr(pool) + repr(vars(pool)))
    try:
        with anyio.move_on_after(1):
            await pool.run()
    except RedispatcherError as error:
        told.append(tell(error))
    async with Connections(config.dsn) as connections:
        told.append(f"{connections!r}{Broker(connections, config.engine_settings())!r}")
        try:
            await check_server(connections)
        except RedispatcherError as error:
            told.append(tell(error))
        with connections.heartbeat() as client:
            try:
                client.execute_command("PING")
            except Exception as error:
                told.append(tell(error))
    return "\n".join(told)


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("how", HOWS)
async def test_no_failure_to_connect_shows_the_password(
    how: str, redis_servers: RedisServers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "redispatcher"):
        async with failing_address(how, redis_servers, tmp_path) as dsn:
            told = await attempt_everything(dsn)

    assert "Error" in told
    assert SECRET not in told
    assert SECRET not in tell_log(caplog)


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("how", ["wrong password", "master password", "cluster password"])
async def test_wrong_credentials_end_a_pool_instead_of_being_tried_for_ever(
    how: str, redis_servers: RedisServers, tmp_path: Path
) -> None:
    async with failing_address(how, redis_servers, tmp_path) as dsn:
        pool = ConsumerPool(RedispatcherConfig(redis_dsn=dsn, consumers=[Ping]))
        with pytest.raises(BrokerAccessError), anyio.fail_after(10):
            await pool.run()


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("how", ["refused", "wrong password"])
async def test_the_command_line_shows_no_password(
    how: str, log_format: str, redis_servers: RedisServers, tmp_path: Path
) -> None:
    arguments = ("pool", "tests.security.sealed_service:config", "--log-format", log_format)
    async with failing_address(how, redis_servers, tmp_path) as dsn:
        environment = {"SEALED_KIND": "both"}
        with Program(
            tmp_path, *arguments, "--log-level", "debug", dsn=dsn, environment=environment
        ) as program:
            expected = "cannot be reached" if how == "refused" else "The pool cannot run"
            await wait_until(lambda: expected in program.log)
            program.signal()
            program.wait()

    assert SECRET not in program.log + program.output
    assert KEY not in program.log + program.output


@pytest.mark.parametrize(
    "dsn",
    [
        f"redis://app:{SECRET}@h:port/0",
        f"http://app:{SECRET}@h",
        f"redis://app:{SECRET}/x@h",
        f"redis://app:{SECRET}?x@h",
        f"redis://app:{SECRET}#x@h",
        f"redis://h?passwort={SECRET}",
        f"redis://h?password={SECRET}&password={SECRET}",
        f"redis://:{SECRET}@h?password={SECRET}",
        f"redis://:{SECRET}@h/a",
        f"redis+sentinel://:{SECRET}@h",
        f"memory://:{SECRET}@h",
        f"redis://:{SECRET}@h?max_connections=0",
        SECRET,
    ],
)
def test_a_wrong_address_is_refused_without_being_shown(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settings(BaseModel):
        redispatcher: RedispatcherConfig

    with pytest.raises(ConfigurationError) as refused:
        RedispatcherConfig(redis_dsn=dsn)
    with pytest.raises(ValidationError) as nested:
        Settings.model_validate({"redispatcher": {"redis_dsn": dsn}})
    monkeypatch.setenv("REDIS_DSN", dsn)
    with pytest.raises(ConfigurationError) as from_environment:
        RedispatcherConfig()

    assert SECRET not in tell(refused.value)
    assert SECRET not in tell(from_environment.value)
    assert SECRET not in "".join(
        str(problem["msg"]) for problem in nested.value.errors(include_input=False)
    )


def test_a_configuration_shows_neither_password_nor_keys() -> None:
    config = RedispatcherConfig(redis_dsn=f"redis://app:{SECRET}@h/0", sealing=both())

    shown = [repr(config), str(config), str(config.dsn), repr(config.dsn), repr(config.sealing)]
    shown += [str(config.model_dump()), f"{config.redis_dsn}", repr(vars(config))]
    assert SECRET not in "".join(shown)
    assert KEY not in "".join(shown)
    assert "redis://app:" in str(config.dsn)


def test_a_configuration_can_be_copied_and_keeps_its_keys() -> None:
    config = RedispatcherConfig(redis_dsn=f"redis://app:{SECRET}@h/0", sealing=both())

    copied = config.model_copy(update={"grace_period": timedelta(seconds=1)})

    assert copied.sealing is config.sealing
    assert copy.copy(config).redis_dsn == SecretStr(f"redis://app:{SECRET}@h/0")


def test_no_pickle_of_an_error_holds_an_address() -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedispatcherConfig(redis_dsn=f"http://app:{SECRET}@h")

    assert SECRET.encode() not in pickle.dumps(refused.value)


async def test_a_client_of_the_callers_is_not_shown_either() -> None:
    client: Any = Redis(host="127.0.0.1", port=find_free_port(), password=SECRET)
    with pytest.raises(PublishError) as refused:
        with anyio.fail_after(20):
            await Ping.publish(Ping.Message(), client)
    with suppress(Exception):
        await client.aclose()

    assert SECRET not in tell(refused.value)
