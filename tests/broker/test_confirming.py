"""Publishes that replicas confirm: none is taken for confirmed that is on the master alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from redispatcher_fastapi import (
    BaseConsumer,
    BrokerAccessError,
    ConfigurationError,
    JobState,
    NotReplicatedError,
    PublishUncertainError,
    QueueFullError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import DirectSender, Sender
from redispatcher_fastapi.broker.server_check import check_server
from redispatcher_fastapi.broker.types import EngineSettings, Submission
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.keys import queue_prefix
from redispatcher_fastapi.testing import RedispatcherTester
from tests.broker.engine import ENVELOPE, QUEUE
from tests.servers import RedisServer, RedisServers
from tests.topologies import start_replica
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

TIMEOUT = timedelta(seconds=0.5)
SETTINGS = EngineSettings(confirmed_replicas=1, publish_timeout=TIMEOUT)
PATIENT = EngineSettings(confirmed_replicas=1, publish_timeout=timedelta(seconds=20))


@dataclass
class Pair:
    """A master with one replica."""

    master: RedisServer
    replica: RedisServer

    def detach(self) -> None:
        with self.replica.client() as admin:
            admin.execute_command("REPLICAOF", "NO", "ONE")

    def attach(self) -> None:
        with self.replica.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", self.master.port)

    def calls_on_master(self, command: str) -> int:
        with self.master.client() as admin:
            statistics = admin.execute_command("INFO", "commandstats")
        return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def has_job(server: RedisServer, job_id: str) -> bool:
    with server.client() as admin:
        return bool(admin.execute_command("HEXISTS", f"{queue_prefix(QUEUE)}jobs", job_id))


def chosen(job_id: str) -> Submission:
    return Submission(job_id, ENVELOPE, is_chosen_id=True)


@pytest.fixture
def pair(redis_servers: RedisServers) -> Pair:
    master = redis_servers.start()
    return Pair(master, start_replica(redis_servers, master))


@asynccontextmanager
async def sending(dsn: str, settings: EngineSettings = SETTINGS) -> AsyncGenerator[Sender, None]:
    async with (
        Connections(parse_dsn(dsn)) as connections,
        Sender(Broker(connections, settings)) as sender,
    ):
        yield sender


async def test_a_confirmed_publish_is_on_the_replica_when_it_returns(pair: Pair) -> None:
    async with sending(pair.master.dsn, PATIENT) as sender:
        for number in range(10):
            assert await sender.send(QUEUE, chosen(str(number)))

            assert has_job(pair.replica, str(number))


async def test_a_paused_replica_confirms_nothing_and_the_job_is_named_as_on_the_master_alone(
    pair: Pair,
) -> None:
    loop = asyncio.get_running_loop()
    async with sending(pair.master.dsn) as sender:
        with pair.replica.paused():
            started = loop.time()
            with pytest.raises(NotReplicatedError, match="0 of 1 replicas") as raised:
                await sender.send(QUEUE, chosen("one"))
            took = loop.time() - started

        assert raised.value.job_ids == ("one",)
        assert await sender.store.job_state(QUEUE, "one") is JobState.QUEUED
        assert took < TIMEOUT.total_seconds() + 1


async def test_publishing_again_with_the_same_id_asks_again(pair: Pair) -> None:
    pair.detach()
    async with sending(pair.master.dsn) as sender:
        for _ in range(2):
            with pytest.raises(NotReplicatedError):
                await sender.send(QUEUE, chosen("one"))
        assert not has_job(pair.replica, "one")

        pair.attach()

        async def is_confirmed() -> bool:
            try:
                assert not await sender.send(QUEUE, chosen("one"))
            except NotReplicatedError:
                return False
            return True

        await wait_until(is_confirmed)
        assert has_job(pair.replica, "one")


async def test_a_replica_that_comes_back_in_time_confirms(pair: Pair) -> None:
    async with sending(pair.master.dsn, PATIENT) as sender:
        with pair.replica.paused():
            publish = asyncio.create_task(sender.send(QUEUE, chosen("one")))
            await wait_until(lambda: pair.calls_on_master("wait") > 1)
            assert not publish.done()

        assert await publish
        assert has_job(pair.replica, "one")


async def test_a_repeated_publish_has_a_write_of_its_own_that_replicas_must_have(
    pair: Pair,
) -> None:
    async with sending(pair.master.dsn, PATIENT) as sender:
        await sender.send(QUEUE, chosen("one"))
        before = pair.calls_on_master("hincrby")

        assert not await sender.send(QUEUE, chosen("one"))

        assert pair.calls_on_master("hincrby") == before + 1


async def test_many_jobs_are_confirmed_by_one_question(pair: Pair) -> None:
    async with sending(pair.master.dsn, PATIENT) as sender:
        before = pair.calls_on_master("hincrby")

        await sender.send_many(QUEUE, [chosen(str(number)) for number in range(15)])

        # One is the script's, and one stands before each question.
        assert pair.calls_on_master("hincrby") == before + 2
        assert has_job(pair.replica, "14")


async def test_many_jobs_that_are_not_confirmed_are_all_named(pair: Pair) -> None:
    pair.detach()
    async with sending(pair.master.dsn) as sender:
        with pytest.raises(NotReplicatedError) as raised:
            await sender.send_many(QUEUE, [chosen("one"), chosen("two")])

    assert raised.value.job_ids == ("one", "two")
    assert str(raised.value).endswith("There are 2 ids in job_ids.")


async def test_calls_at_the_same_time_share_a_question(pair: Pair) -> None:
    async with sending(pair.master.dsn, PATIENT) as sender:
        before = pair.calls_on_master("hincrby")

        await asyncio.gather(*(sender.send(QUEUE, chosen(str(n))) for n in range(15)))

        assert pair.calls_on_master("hincrby") == before + 4
        assert all(has_job(pair.replica, str(number)) for number in range(15))


async def test_calls_at_the_same_time_are_each_told_of_their_own_job(pair: Pair) -> None:
    pair.detach()
    settings = EngineSettings(confirmed_replicas=1, publish_timeout=TIMEOUT, max_queue_length=2)
    async with sending(pair.master.dsn, settings) as sender:
        errors = await asyncio.gather(
            *(sender.send(QUEUE, chosen(name)) for name in ("one", "two", "three")),
            return_exceptions=True,
        )

    assert isinstance(errors[0], NotReplicatedError)
    for error, name in zip(errors, ("one", "two", "three"), strict=True):
        assert isinstance(error, PublishUncertainError)
        assert error.job_ids == (name,)
        assert str(error).endswith(f"The id is {name!r}.")


async def test_a_full_queue_is_told_at_once_without_asking_replicas(pair: Pair) -> None:
    settings = EngineSettings(confirmed_replicas=1, max_queue_length=1)
    async with sending(pair.master.dsn, settings) as sender:
        await sender.send(QUEUE, chosen("one"))
        pair.detach()
        before = pair.calls_on_master("wait")

        with pytest.raises(QueueFullError):
            await sender.send(QUEUE, chosen("two"))

        assert pair.calls_on_master("wait") == before


async def test_a_user_who_may_not_wait_is_told_so(pair: Pair) -> None:
    with pair.master.client() as admin:
        admin.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-wait")
    async with sending(f"redis://u:p@127.0.0.1:{pair.master.port}") as sender:
        with pytest.raises(NotReplicatedError, match=r"refused to ask.*'wait'") as raised:
            await sender.send(QUEUE, chosen("one"))

    assert raised.value.job_ids == ("one",)
    assert "Permissions in Redis" in str(raised.value)
    assert "did not confirm" not in str(raised.value)
    assert "again" not in str(raised.value)
    assert has_job(pair.master, "one")


async def test_a_user_who_may_not_wait_is_found_out_at_start_up(pair: Pair) -> None:
    with pair.master.client() as admin:
        admin.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-wait")
    async with Connections(parse_dsn(f"redis://u:p@127.0.0.1:{pair.master.port}")) as connections:
        with pytest.raises(BrokerAccessError, match="wait"):
            await check_server(connections, confirmed_replicas=1)
        await check_server(connections)


async def test_too_few_replicas_are_warned_of_at_start_up(pair: Pair) -> None:
    async with Connections(parse_dsn(pair.master.dsn)) as connections:
        enough = await check_server(connections, confirmed_replicas=1)
        warnings = await check_server(connections, confirmed_replicas=2)

    assert not any("confirmed_replicas" in warning for warning in enough)
    assert any("confirmed_replicas is 2, and this Redis server has 1" in each for each in warnings)


@pytest.mark.slow
async def test_an_application_logs_that_its_user_may_not_wait(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with pair.master.client() as admin:
        admin.execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-wait")
    dsn = f"redis://u:p@127.0.0.1:{pair.master.port}"
    async with Redispatcher(RedispatcherConfig(redis_dsn=dsn, confirmed_replicas=1)).lifespan():
        await wait_until(lambda: "publishing will fail" in caplog.text)

    assert "'wait' command" in caplog.text


async def test_nothing_is_asked_of_replicas_where_it_is_not_demanded(pair: Pair) -> None:
    pair.detach()
    before = pair.calls_on_master("wait")
    async with sending(pair.master.dsn, EngineSettings()) as sender:
        assert await sender.send(QUEUE, chosen("one"))

    assert pair.calls_on_master("wait") == before


async def test_a_refusal_after_a_lost_answer_is_uncertain(redis_servers: RedisServers) -> None:
    class Client:
        """Publishes, loses the answer, and is refused when it asks again."""

        def __init__(self, redis: Any) -> None:
            self._redis = redis
            self._calls = 0

        async def execute_command(self, *command: Any) -> Any:
            self._calls += 1
            if self._calls <= 2:  # by digest, then by source
                reply = await self._redis.execute_command(*command)
                assert reply == b"1"
                raise ConnectionError("reset")
            await self._redis.execute_command("CONFIG", "SET", "maxmemory", 1)
            return await self._redis.execute_command(*command)

    server = redis_servers.start()
    async with Redis(port=server.port) as redis:
        sender = DirectSender(Client(redis))
        with pytest.raises(PublishUncertainError, match=r"(?i)memory") as raised:
            await sender.send(QUEUE, Submission("one", ENVELOPE))

    assert raised.value.job_ids == ("one",)
    assert has_job(server, "one")


def test_memory_has_no_replicas() -> None:
    with pytest.raises(ConfigurationError, match="memory:// has no replicas"):
        RedispatcherConfig(redis_dsn="memory://", confirmed_replicas=1)
    assert RedispatcherConfig(redis_dsn="memory://").confirmed_replicas == 0
    with pytest.raises(ConfigurationError, match="address of a Redis"):
        Sender(Broker(Connections(parse_dsn("memory://")), SETTINGS))


def test_a_client_of_the_callers_cannot_be_asked() -> None:
    client = Redis()
    with pytest.raises(ConfigurationError, match="address of Redis"):
        DirectSender(client, settings=SETTINGS)
    with pytest.raises(ConfigurationError, match="a client of your own"):
        Sender(Broker(Connections.around(client), SETTINGS))


async def test_a_master_that_demands_replicas_takes_no_publish_without_one(pair: Pair) -> None:
    with pair.master.client() as admin:
        admin.execute_command("CONFIG", "SET", "min-replicas-to-write", 1)
    async with sending(pair.master.dsn, EngineSettings(publish_timeout=TIMEOUT)) as sender:
        assert await sender.send(QUEUE, chosen("one"))
        pair.detach()

        ids = count()

        async def is_refused() -> bool:
            try:
                await sender.send(QUEUE, chosen(f"new-{next(ids)}"))
            except PublishUncertainError as error:
                return "replicas" in str(error)
            return False

        await wait_until(is_refused)


def test_what_is_tested_without_redis_is_published_without_replicas() -> None:
    class Ping(BaseConsumer):
        QUEUE = "ping"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None: ...

    config = RedispatcherConfig(redis_dsn="redis://", consumers=[Ping], confirmed_replicas=1)
    dispatcher = Redispatcher(config)

    with RedispatcherTester(dispatcher) as tester:
        job = asyncio.run(dispatcher.publisher(Ping).publish(Ping.Message()))

        assert [each.id for each in tester.published(Ping)] == [job.id]
