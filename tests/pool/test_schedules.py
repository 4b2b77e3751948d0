"""Pools and their schedules: declared at start, run on time, changed while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from redispatcher_fastapi import (
    AesGcmCipher,
    BaseConsumer,
    ConsumerConfig,
    ConsumerPool,
    JobContext,
    NotRunningError,
    Redispatcher,
    RedispatcherConfig,
    Schedule,
    SealError,
    Sealing,
    SigningKeys,
)
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.dsn import parse_dsn
from tests.pool.running import running_pool
from tests.servers import RedisServer
from tests.waiting import wait_until

SECOND = timedelta(seconds=1)
RUNS: list[tuple[str, str, datetime | None, dict[str, str]]] = []


class Tick(BaseConsumer):
    QUEUE = "ticks"

    class Message(BaseConsumer.Message):
        name: str

    SCHEDULES: ClassVar[Sequence[Schedule]] = [Schedule("own", Message(name="own"), every=SECOND)]

    @classmethod
    def headers(cls) -> dict[str, str]:
        return {"made_at": datetime.now(UTC).isoformat()}

    async def process_message(
        self, message: Message, context: JobContext, headers: BaseConsumer.Headers
    ) -> str:
        RUNS.append((message.name, context.id, context.tick, headers.model_dump()))
        return message.name


@pytest.fixture(autouse=True)
def runs() -> list[tuple[str, str, datetime | None, dict[str, str]]]:
    RUNS.clear()
    return RUNS


def has_run(name: str, times: int = 1) -> bool:
    return sum(run[0] == name for run in RUNS) >= times


async def test_schedules_of_class_and_configuration_run_in_a_pool(redis_dsn: str) -> None:
    more = Schedule("more", Tick.Message(name="more"), every=SECOND)
    consumer = ConsumerConfig(consumer_class=Tick, schedules=[more])

    async with running_pool(redis_dsn, consumer):
        await wait_until(lambda: has_run("own") and has_run("more"))

    assert len({job_id for _, job_id, _, _ in RUNS}) == len(RUNS)
    for name, job_id, tick, headers in RUNS:
        assert tick is not None
        assert job_id == f"{name}:{tick:%Y-%m-%dT%H:%M:%S}Z"
        late = datetime.now(UTC) - tick
        assert timedelta() <= late < timedelta(seconds=30)
        assert datetime.fromisoformat(headers["made_at"]) > tick - SECOND


async def test_a_schedule_made_at_run_time_is_on_time(redis_dsn: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Tick]))
    async with running_pool(redis_dsn, Tick), dispatcher.lifespan():
        await wait_until(lambda: has_run("own"))

        made = await dispatcher.schedules.upsert(
            "mine", Tick, Tick.Message(name="mine"), every=SECOND
        )
        await wait_until(lambda: has_run("mine"))

        first = next(tick for name, _, tick, _ in RUNS if name == "mine")
        assert first == made.next_run_at
        await dispatcher.schedules.pause("own", Tick)
        job = await dispatcher.schedules.run_now("own", Tick)
        assert await job.result(20) == "own"


async def test_a_pool_is_woken_for_a_schedule_that_is_made_while_it_waits(redis_dsn: str) -> None:
    class Quiet(Tick):
        QUEUE = "quiet"
        SCHEDULES = ()

    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Quiet]))
    async with running_pool(redis_dsn, Quiet) as running, dispatcher.lifespan():
        job = await running.publisher(Quiet).publish(Tick.Message(name="first"))
        assert await job.result(20) == "first"
        loop = asyncio.get_running_loop()
        began = loop.time()

        await dispatcher.schedules.upsert("mine", Quiet, Tick.Message(name="mine"), every=SECOND)
        await wait_until(lambda: has_run("mine"))

    assert loop.time() - began < 4  # who is not woken looks after five seconds


async def test_a_burst_makes_no_jobs_of_schedules(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Tick])
    async with Connections(config.dsn) as connections:
        await ConsumerPool(config).run(burst=True)

        client: Any = connections.publisher
        assert await client.execute_command("EXISTS", "rd:{ticks}:schedules") == 0


KEY = "k" * 32
SEALED = Sealing(
    signing=SigningKeys({"one": KEY}), encryption=AesGcmCipher({"a": token_urlsafe(32)})
)


@pytest.mark.redis
class TestSealing:
    @pytest.fixture
    def redis_dsn(self) -> str:
        """Only in memory: what is sealed does not depend on the store."""
        return f"memory://{uuid4().hex}"

    async def test_the_message_is_sealed_in_redis_and_sealed_anew_for_each_job(
        self, redis_server: RedisServer
    ) -> None:
        with redis_server.client() as client:
            client.execute_command("FLUSHALL")
        secret = Schedule("secret", Tick.Message(name="confidential"), every=SECOND)
        consumer = ConsumerConfig(consumer_class=Tick, schedules=[secret])

        async with running_pool(redis_server.dsn, consumer, sealing=SEALED):
            await wait_until(lambda: has_run("confidential"))
            with redis_server.client() as client:
                stored: dict[str, str] = client.execute_command("HGETALL", "rd:{ticks}:schedules")
                declared = client.execute_command("HGETALL", "rd:{ticks}:declarations")

        assert set(stored) == {"own", "secret"}
        assert "confidential" not in f"{stored}{declared}"

    async def test_what_was_put_there_by_somebody_without_the_key_does_not_run(
        self, redis_dsn: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        forger = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Tick]))
        owner = Redispatcher(
            RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Tick], sealing=SEALED)
        )
        async with forger.lifespan(), owner.lifespan():
            forged = Tick.Message(name="forged")
            await forger.schedules.upsert("forged", Tick, forged, every=SECOND)
            async with running_pool(redis_dsn, Tick, sealing=SEALED):
                await wait_until(lambda: has_run("own") and "forged" in caplog.text)
            record = await owner.schedules.get("forged", Tick)
            with pytest.raises(SealError):
                await owner.schedules.run_now("forged", Tick)

        assert not has_run("forged")
        assert record is not None
        assert "not signed" in str(record.problem)

    async def test_a_sealed_schedule_cannot_take_the_place_of_another(self, redis_dsn: str) -> None:
        owner = Redispatcher(
            RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Tick], sealing=SEALED)
        )
        async with owner.lifespan(), Connections(parse_dsn(redis_dsn)) as connections:
            message = Tick.Message(name="mine")
            await owner.schedules.upsert("mine", Tick, message, every=SECOND)
            client: Any = connections.publisher
            stored = await client.execute_command("HGET", "rd:{ticks}:schedules", "mine")
            await client.execute_command("HSET", "rd:{ticks}:schedules", "copy", stored)

            record = await owner.schedules.get("copy", Tick)

        assert record is not None
        assert "not valid" in str(record.problem)


async def test_schedules_need_a_lifespan() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://", consumers=[Tick]))

    with pytest.raises(NotRunningError):
        _ = dispatcher.schedules
