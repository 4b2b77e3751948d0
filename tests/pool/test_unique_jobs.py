"""Unique messages, priorities and expiry, from the publisher to what a pool makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from redispatcher_fastapi import (
    AesGcmCipher,
    BaseConsumer,
    CallNext,
    ConfigurationError,
    ConsumerConfig,
    Disposition,
    DuplicateJobError,
    Inspector,
    Job,
    JobCancelledError,
    JobState,
    Middleware,
    OnConflict,
    Priority,
    Publication,
    Publisher,
    RedispatcherConfig,
    Sealing,
    SigningKeys,
    Unique,
    UniqueScope,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.publisher import Publishers
from tests.pool.running import PATIENCE, running_pool

SEALING = Sealing(
    signing=SigningKeys({"1": "k" * 32}),
    encryption=AesGcmCipher({"1": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}),
)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.anyio


class Sync(BaseConsumer):
    """Waits for its turn until the test lets it go."""

    QUEUE = "sync"
    UNIQUE = Unique(fields=("account",))
    may_end: ClassVar[asyncio.Event]

    class Message(BaseConsumer.Message):
        account: str
        version: int = 0

    async def process_message(self, message: Message) -> int:
        await self.may_end.wait()
        return message.version


class Note(BaseConsumer):
    """Notes the order in which its jobs start."""

    QUEUE = "note"
    started: ClassVar[list[str]]

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> None:
        self.started.append(message.text)


@pytest.fixture(autouse=True)
def begin_anew() -> None:
    Sync.may_end = asyncio.Event()
    Note.started = []


@asynccontextmanager
async def publishing(
    dsn: str, middleware: Sequence[Middleware] = (), sealing: Sealing | None = None
) -> AsyncGenerator[tuple[Publishers, Broker], None]:
    """Publish without any pool."""
    config = RedispatcherConfig(redis_dsn=dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        async with Sender(broker) as sender:
            size = config.max_message_bytes
            made = Publishers(
                sender, max_message_bytes=size, middleware=middleware, sealing=sealing
            )
            yield made, broker


def sync(account: str = "a", version: int = 0) -> Sync.Message:
    return Sync.Message(account=account, version=version)


async def test_a_second_publish_returns_the_job_that_is_there(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (publishers, _):
        publisher = publishers.publisher(Sync)
        first = await publisher.publish(sync(version=1))
        second = await publisher.publish(sync(version=2))
        other = await publisher.publish(sync("b"))

    assert (first.disposition, first.created) == (Disposition.CREATED, True)
    assert (second.disposition, second.created) == (Disposition.EXISTING, False)
    assert second.id == first.id
    assert other.created


@pytest.mark.parametrize("sealing", [None, SEALING])
async def test_both_callers_get_the_one_result(redis_dsn: str, sealing: Sealing | None) -> None:
    async with running_pool(redis_dsn, Sync, sealing=sealing) as running:
        publisher = running.publisher(Sync)
        jobs = [await publisher.publish(sync(version=version)) for version in (1, 2)]
        Sync.may_end.set()

        assert [await job.result(PATIENCE) for job in jobs] == [1, 1]
        assert (await publisher.publish(sync(version=3))).created


async def test_each_of_many_callers_at_once_learns_of_the_one_job(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (publishers, broker):
        publisher = publishers.publisher(Sync)
        jobs = await asyncio.gather(
            *(publisher.publish(sync("ab"[number % 2])) for number in range(200))
        )
        counts = await broker.count_jobs("sync")

    assert counts[JobState.QUEUED] == 2
    assert [sum(job.created for job in jobs[first::2]) for first in (0, 1)] == [1, 1]
    assert [len({job.id for job in jobs[first::2]}) for first in (0, 1)] == [1, 1]


async def test_duplicates_in_one_call_get_one_job(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (publishers, _):
        jobs = await publishers.publisher(Sync).publish_many(
            [sync(), sync("b"), sync(version=1), sync("b", version=1)]
        )

    created, existing = Disposition.CREATED, Disposition.EXISTING
    assert [job.disposition for job in jobs] == [created, created, existing, existing]
    assert [job.id for job in jobs[2:]] == [job.id for job in jobs[:2]]


async def test_a_message_can_be_replaced_until_its_job_starts(redis_dsn: str) -> None:
    latest = Unique(("account",), on_conflict=OnConflict.REPLACE)
    async with publishing(redis_dsn) as (publishers, _):
        publisher = publishers.publisher(Sync)
        first = await publisher.publish(sync(version=1), unique=latest)
        second = await publisher.publish(sync(version=2), unique=latest)
    Sync.may_end.set()

    async with running_pool(redis_dsn, Sync) as running:
        assert await running.publisher(Sync).job(first.id).result(PATIENCE) == 2

    assert (second.disposition, second.id) == (Disposition.REPLACED, first.id)


async def test_a_job_can_be_put_off_until_no_message_comes_any_more(redis_dsn: str) -> None:
    calm = Unique(("account",), scope=UniqueScope.WAITING, on_conflict=OnConflict.DEBOUNCE)
    wait = timedelta(milliseconds=300)
    async with running_pool(redis_dsn, Sync) as running:
        publisher = running.publisher(Sync)
        Sync.may_end.set()
        jobs: list[Job[int]] = []
        for version in range(5):
            jobs.append(await publisher.publish(sync(version=version), delay=wait, unique=calm))
            before = await jobs[0].info()
            assert before is not None
            assert before.state is JobState.SCHEDULED

        assert [await job.result(PATIENCE) for job in jobs] == [4] * 5
        counts = await running.broker.count_jobs("sync")

    assert [job.disposition for job in jobs] == [Disposition.CREATED, *[Disposition.DEBOUNCED] * 4]
    assert counts[JobState.SUCCEEDED] == 1


async def test_a_duplicate_can_be_an_error(redis_dsn: str) -> None:
    strict = Unique(("account",), on_conflict=OnConflict.RAISE)
    async with publishing(redis_dsn) as (publishers, broker):
        publisher = publishers.publisher(Sync)
        first = await publisher.publish(sync(), unique=strict)
        with pytest.raises(
            DuplicateJobError, match=f"A message for Sync .* job {first.id} "
        ) as one:
            await publisher.publish(sync(version=1), unique=strict)
        with pytest.raises(DuplicateJobError) as many:
            await publisher.publish_many([sync("b"), sync(), sync("c")], unique=strict)
        counts = await broker.count_jobs("sync")

    assert (one.value.job_id, many.value.job_id) == (first.id, first.id)
    assert counts[JobState.QUEUED] == 3


async def test_a_consumer_publishes_by_its_own_rules_with_any_client(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (_, broker):
        client: Any = broker.connections.publisher
        first = await Sync.publish(sync(version=1), client, priority=Priority.HIGH, expires=HOUR)
        second = await Sync.publish(sync(version=2), client)
        record = await first.info()

    assert (second.id, second.disposition) == (first.id, Disposition.EXISTING)
    assert record is not None
    assert record.priority is Priority.HIGH
    assert record.expires_at is not None


async def test_a_sealed_message_is_refused_where_it_would_be_replaced(redis_dsn: str) -> None:
    latest = Unique(("account",), on_conflict=OnConflict.REPLACE)
    async with publishing(redis_dsn, sealing=SEALING) as (publishers, broker):
        with pytest.raises(ConfigurationError, match="cannot have both `sealing`"):
            await publishers.publisher(Sync).publish(sync(), unique=latest)
        assert not any((await broker.count_jobs("sync")).values())


class Watching(Middleware):
    """Keeps the publications and what became of them."""

    def __init__(self) -> None:
        self.seen: list[tuple[Publication, list[Disposition]]] = []

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        jobs = await call_next()
        self.seen.append((publication, [job.disposition for job in jobs]))


async def test_middleware_sees_the_options_and_what_they_led_to(redis_dsn: str) -> None:
    watching = Watching()
    async with publishing(redis_dsn, [watching]) as (publishers, _):
        publisher = publishers.publisher(Sync)
        await publisher.publish(sync(), priority=Priority.LOW, expires=HOUR, unique=Unique())
        await publisher.publish_many([sync(), sync("b")], unique=Unique())

    (first, one), (second, two) = watching.seen
    assert (first.priority, first.expires, first.unique) == (Priority.LOW, HOUR, Unique())
    assert (second.priority, second.expires, second.unique) == (None, None, Unique())
    assert one == [Disposition.CREATED]
    assert two == [Disposition.EXISTING, Disposition.CREATED]


async def test_a_pool_starts_what_is_high_first_and_what_is_low_last(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (publishers, broker):
        publisher: Publisher[Note] = publishers.publisher(Note)
        low = Note.Message(text="low")
        jobs = await publisher.publish_many([low] * 20, priority=Priority.LOW)
        await publisher.publish(Note.Message(text="normal"))
        await publisher.publish(Note.Message(text="high"), priority=Priority.HIGH)
        last = await publisher.publish(Note.Message(text="last"), priority=Priority.HIGH)
        assert await Inspector(broker).set_priority(Note, last.id, Priority.LOW)
        assert not await Inspector(broker).set_priority("note", "unknown", Priority.LOW)

    async with running_pool(redis_dsn, ConsumerConfig(consumer_class=Note, count=1)) as running:
        for job in (*jobs, last):
            await running.publisher(Note).job(job.id).result(PATIENCE)

    assert Note.started == ["high", "normal", *["low"] * 20, "last"]


async def test_a_priority_that_is_none_is_refused(redis_dsn: str) -> None:
    wrong: Any = "urgent"
    async with publishing(redis_dsn) as (_, broker):
        with pytest.raises(ConfigurationError, match="'urgent' is no priority; these are: high"):
            await Inspector(broker).set_priority(Note, "a", wrong)


async def test_whoever_waits_for_a_job_that_has_expired_is_told(redis_dsn: str) -> None:
    async with publishing(redis_dsn) as (publishers, _):
        publisher = publishers.publisher(Note)
        past = datetime.now(UTC) - timedelta(seconds=1)
        job = await publisher.publish(Note.Message(text="late"), expires=past)

    async with running_pool(redis_dsn, Note) as running:
        with pytest.raises(JobCancelledError, match=f"Job {job.id} .* has expired"):
            await running.publisher(Note).job(job.id).result(PATIENCE)
        record = await running.broker.job_record("note", job.id)

    assert record is not None
    assert (record.state, record.reason) == (JobState.CANCELLED, "expired")
    assert Note.started == []
