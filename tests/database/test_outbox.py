"""``publisher.in_transaction(session)``: what is in the table, and how it gets to Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    ConsumerPool,
    InvalidOptionError,
    Job,
    JobExpiredError,
    JobState,
    OnConflict,
    Outbox,
    OutboxTableError,
    PoolHooks,
    Publisher,
    Redispatcher,
    RedispatcherConfig,
    Sealing,
    SigningKeys,
    Unique,
)
from redispatcher_fastapi.broker.types import Submission, Traits
from redispatcher_fastapi.database import Waiting
from redispatcher_fastapi.database.rows import Row, RowError, decode_row, encode_row
from tests.database.shop import Bill, Database, Order, Ship, running_shop
from tests.databases import PostgresServer
from tests.waiting import wait_until


class Events(PoolHooks):
    def __init__(self) -> None:
        self.relayed = 0
        self.refused: list[tuple[str, str, str]] = []
        self.failed: list[str] = []
        self.resumed = 0

    def outbox_relayed(self, count: int) -> None:
        self.relayed += count

    def outbox_refused(self, queue: str, job_id: str, reason: str) -> None:
        self.refused.append((queue, job_id, reason))

    def outbox_failed(self, reason: str, lasted: timedelta) -> None:
        self.failed.append(reason)

    def outbox_resumed(self, lasted: timedelta) -> None:
        self.resumed += 1


def write(database: Database, *numbers: int, consumer: Any = Ship) -> list[Job[int]]:
    """Commit messages in one transaction, as a process that ends right afterwards."""
    outbox = Outbox(database.engine())
    publisher: Publisher[Ship] = Publisher(
        consumer, _NoSender(), max_message_bytes=1000, outbox=outbox
    )
    with Session(database.engine()) as session, session.begin():
        bound = publisher.in_transaction(session)
        return [bound.publish(consumer.Message(number=number)) for number in numbers]


class _NoSender:
    store: Any = None
    send: Any = None
    send_many: Any = None


async def run_pool(database: Database, redis_dsn: str, **options: Any) -> None:
    """Run a pool until nothing is left to do."""
    config = RedispatcherConfig(
        redis_dsn=redis_dsn,
        consumers=[Ship, Bill],
        outbox=Outbox(database.async_engine()),
    )
    await ConsumerPool(config, **options).run(burst=True)


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Redispatcher]:
    async with running_shop(database) as dispatcher:
        yield dispatcher


def row_of(values: dict[str, Any], **changes: Any) -> Row:
    row = Row(position=1, attempts=0, **values)
    return replace(row, **changes)


SAMPLES: dict[str, Any] = {
    "delay": timedelta(seconds=1.5),
    "at": datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "is_chosen_id": True,
    "traits": Traits("high", "a:b", timedelta(days=1), "t60000:k", "key", "then"),
}


def test_there_is_a_sample_of_each_option() -> None:
    assert set(SAMPLES) == {field.name for field in fields(Submission)} - {"job_id", "envelope"}


@pytest.mark.parametrize("name", SAMPLES)
def test_an_option_comes_back_from_its_row(name: str) -> None:
    submission = Submission("job", b'{"v":1}', **{name: SAMPLES[name]})

    row = row_of(dict(encode_row("unit", Waiting("ship", submission))))

    assert decode_row(row) == replace(submission, is_chosen_id=True)
    assert list(json.loads(row.options)) == [name]


def test_what_expires_at_a_time_comes_back_from_its_row() -> None:
    submission = Submission("job", b"\xff\x00", traits=Traits(expiry=SAMPLES["at"]))

    row = row_of(dict(encode_row("unit", Waiting("ship", submission))))

    assert decode_row(row) == replace(submission, is_chosen_id=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": '{"colour": "red"}'}, "does not know the option 'colour'"),
        ({"options": '{"delay": "soon"}'}, r"cannot be read \(ValidationError\)"),
        ({"options": "[]"}, "cannot be read"),
        ({"options": "nonsense"}, "cannot be read"),
        ({"queue": "a{b}"}, "cannot name a queue"),
        ({"job_id": ""}, "cannot identify a job"),
    ],
)
def test_a_row_that_was_changed_by_hand_is_refused(changes: dict[str, str], reason: str) -> None:
    values = dict(encode_row("unit", Waiting("ship", Submission("job", b"{}"))))

    with pytest.raises(RowError, match=reason):
        decode_row(row_of(values, **changes))


async def test_a_row_holds_what_redis_would_hold(database: Database) -> None:
    sealing = Sealing(signing=SigningKeys({"k": "0123456789abcdef0123456789abcdef"}))
    publisher = Publisher(
        Ship,
        _NoSender(),
        max_message_bytes=1000,
        sealing=sealing,
        outbox=Outbox(database.engine()),
    )
    with Session(database.engine()) as session, session.begin():
        publisher.in_transaction(session).publish(Ship.Message(number=1), id="chosen")

    (row,) = database.rows()
    assert (row.queue, row.job_id, row.attempts, row.error) == ("ship", "chosen", 0, None)
    opened = sealing.open_message(bytes(row.envelope), queue="ship", job_id="chosen")
    assert b'"number":1' in opened
    assert row.created_at is not None


async def test_what_a_lost_process_committed_is_moved_by_a_pool(
    database: Database, redis_dsn: str
) -> None:
    jobs = write(database, 1, 2)
    events = Events()

    await run_pool(database, redis_dsn, hooks=events)

    async with running_shop(database, redis_dsn=redis_dsn) as dispatcher:
        ships = dispatcher.publisher(Ship)
        assert [await ships.job(job.id).result(20) for job in jobs] == [1, 2]
    assert database.rows() == []
    assert events.relayed == 2


async def test_a_pool_looks_by_itself(sqlite_database: Database) -> None:
    outbox = Outbox(sqlite_database.async_engine(), poll=timedelta(milliseconds=20))
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Ship], outbox=outbox)
    dispatcher = Redispatcher(config, run_pool=True)
    async with dispatcher.lifespan():
        (job,) = await asyncio.to_thread(write, sqlite_database, 1)

        async def has_succeeded() -> bool:
            return await dispatcher.publisher(Ship).job(job.id).state() == "succeeded"

        await wait_until(has_succeeded)


async def test_a_synchronous_engine_relays_in_a_thread(database: Database) -> None:
    config = RedispatcherConfig(
        redis_dsn="memory://", consumers=[Ship], outbox=Outbox(database.engine())
    )
    dispatcher = Redispatcher(config, run_pool=True)
    async with dispatcher.lifespan():
        async with AsyncSession(database.async_engine()) as session:
            ships = dispatcher.publisher(Ship).in_transaction(session)
            jobs = [ships.publish(Ship.Message(number=number)) for number in (1, 2)]
            await session.commit()

        async def have_succeeded() -> bool:
            return {await job.state() for job in jobs} == {"succeeded"}

        await wait_until(have_succeeded)
        await wait_until(lambda: database.rows() == [])


async def test_a_repeated_move_leaves_one_job(sqlite_database: Database) -> None:
    (job,) = write(sqlite_database, 1)
    (row,) = sqlite_database.rows()

    async with running_shop(sqlite_database, run_pool=True) as dispatcher:
        handle = dispatcher.publisher(Ship).job(job.id)

        async def has_succeeded() -> bool:
            return await handle.state() == "succeeded"

        await wait_until(has_succeeded)
        await wait_until(lambda: sqlite_database.rows() == [])
        # As if the process had been lost between Redis and the deletion.
        await asyncio.to_thread(put_back, sqlite_database, row)
        await wait_until(lambda: sqlite_database.rows() == [])

        counts = await dispatcher.inspector.counts("ship")
        record = await handle.info()
    assert sum(counts.values()) == 1
    assert record is not None
    assert record.attempts == 1


def put_back(database: Database, row: Any) -> None:
    table = Outbox(database.engine()).table
    values = {name: value for name, value in row._mapping.items() if name != "position"}
    with database.engine().begin() as connection:
        connection.execute(table.insert().values(**values))


async def test_a_message_that_cannot_be_published_holds_up_no_other(
    sqlite_database: Database,
) -> None:
    first, second = write(sqlite_database, 1, 2)
    change(sqlite_database, first, options='{"colour": "red"}')
    events = Events()

    await run_pool(sqlite_database, "memory://refusals", hooks=events)

    (row,) = sqlite_database.rows()
    assert row.job_id == first.id
    assert row.attempts >= 1
    assert "colour" in row.error
    assert events.refused == [("ship", first.id, row.error)]
    async with running_shop(sqlite_database, redis_dsn="memory://refusals") as dispatcher:
        assert await dispatcher.publisher(Ship).job(second.id).state() == "succeeded"

    # A release that knows the option comes.
    change(sqlite_database, first, options="{}")
    await run_pool(sqlite_database, "memory://refusals")
    assert sqlite_database.rows() == []


def change(database: Database, job: Job[int], **values: Any) -> None:
    table = Outbox(database.engine()).table
    with database.engine().begin() as connection:
        connection.execute(update(table).where(table.c.job_id == job.id).values(**values))


async def test_a_full_queue_waits_and_the_others_go_on(sqlite_database: Database) -> None:
    events = Events()
    async with running_shop(
        sqlite_database, max_queue_length=2, hooks=events, redis_dsn="memory://full"
    ) as dispatcher:
        publisher = dispatcher.publisher(Ship)
        async with AsyncSession(sqlite_database.async_engine()) as session:
            ships = publisher.in_transaction(session)
            jobs = [ships.publish(Ship.Message(number=number)) for number in range(4)]
            bills = dispatcher.publisher(Bill).in_transaction(session)
            bill = bills.publish(Bill.Message(number=1))
            await session.commit()

        async def is_there() -> bool:
            return await bill.state() == "queued"

        await wait_until(is_there)
        await wait_until(lambda: len(sqlite_database.rows()) == 2)
        assert [await job.state() for job in jobs] == ["queued", "queued", None, None]
        await wait_until(lambda: bool(events.failed))
        assert "full" in events.failed[0]
        assert events.resumed == 0

        for job in jobs[:2]:
            await job.cancel()
        await wait_until(lambda: sqlite_database.rows() == [])
        await wait_until(lambda: events.resumed == 1)
        assert [await job.state() for job in jobs[2:]] == ["queued", "queued"]


async def test_messages_of_one_transaction_keep_their_order(
    database: Database, shop: Redispatcher
) -> None:
    async with AsyncSession(database.async_engine()) as session:
        ships = shop.publisher(Ship).in_transaction(session)
        jobs = [ships.publish(Ship.Message(number=number)) for number in range(150)]
        await session.commit()

    await wait_until(lambda: database.rows() == [])
    page = await shop.inspector.jobs("ship", "queued", limit=150)
    assert [each.id for each in page.jobs] == [job.id for job in jobs]


async def test_a_result_is_waited_for_from_the_commit_on(database: Database) -> None:
    async with (
        running_shop(database, run_pool=True) as shop,
        AsyncSession(database.async_engine()) as session,
    ):
        job = shop.publisher(Ship).in_transaction(session).publish(Ship.Message(number=7))
        with pytest.raises(JobExpiredError, match=f"Job {job.id} .*transaction is not committed"):
            await job.result()
        await session.commit()

        assert await job.result(timeout=10) == 7


@pytest.mark.parametrize("way", ["after_commit", "in_transaction"])
@pytest.mark.parametrize("is_nested", [False, True])
async def test_what_was_rolled_back_has_no_result(
    sqlite_database: Database, way: str, is_nested: bool
) -> None:
    async with (
        running_shop(sqlite_database) as shop,
        AsyncSession(sqlite_database.async_engine()) as session,
    ):
        undo = (await session.begin_nested()).rollback if is_nested else session.rollback
        job = getattr(shop.publisher(Ship), way)(session).publish(Ship.Message(number=7))
        await undo()
        await session.commit()

        with pytest.raises(JobExpiredError, match="its transaction was rolled back"):
            await job.result()


async def test_a_message_that_was_not_unique_is_not_waited_for(
    database: Database, shop: Redispatcher
) -> None:
    async with AsyncSession(database.async_engine()) as session:
        ships = shop.publisher(Ship).in_transaction(session)
        first, second = (
            ships.publish(Ship.Message(number=7), unique=Unique(("number",))) for _ in range(2)
        )
        await session.commit()

    await wait_until(lambda: database.rows() == [])
    assert await first.state() is JobState.QUEUED
    with pytest.raises(JobExpiredError, match=r"left no result.*was not unique"):
        await second.result()


async def test_without_an_outbox_in_the_configuration_it_is_refused(
    sqlite_database: Database,
) -> None:
    async with running_shop(sqlite_database, has_outbox=False) as dispatcher:
        with pytest.raises(ConfigurationError, match=r"RedispatcherConfig\(outbox=Outbox"):
            dispatcher.publisher(Ship).in_transaction(Session())


@pytest.mark.parametrize("way", ["after_commit", "in_transaction"])
async def test_what_could_only_raise_after_the_commit_is_refused(
    sqlite_database: Database, way: str
) -> None:
    async with running_shop(sqlite_database) as dispatcher:
        publisher = dispatcher.publisher(Ship)
        with Session(sqlite_database.engine()) as session:
            bound = (
                publisher.after_commit(session)
                if way == "after_commit"
                else publisher.in_transaction(session)
            )
            with pytest.raises(InvalidOptionError, match="known only after the commit"):
                bound.publish(Ship.Message(number=1), unique=Unique(on_conflict=OnConflict.RAISE))
            session.commit()

        assert sum((await dispatcher.inspector.counts("ship")).values()) == 0


@pytest.mark.parametrize("run_pool", [False, True])
async def test_an_application_without_the_table_does_not_start(
    database: Database, run_pool: bool
) -> None:
    with database.engine().begin() as connection:
        connection.execute(text("DROP TABLE redispatcher_outbox"))

    with pytest.raises(OutboxTableError, match=r"no table 'redispatcher_outbox'.*migration"):
        async with running_shop(database, run_pool=run_pool):
            pytest.fail("it started")


async def test_a_pool_without_the_table_does_not_start(sqlite_database: Database) -> None:
    with sqlite_database.engine().begin() as connection:
        connection.execute(text("DROP TABLE redispatcher_outbox"))

    with pytest.raises(OutboxTableError, match=r"no table 'redispatcher_outbox'"):
        await run_pool(sqlite_database, "memory://")


async def test_a_table_that_lacks_columns_is_refused(database: Database) -> None:
    with database.engine().begin() as connection:
        connection.execute(text("ALTER TABLE redispatcher_outbox DROP COLUMN error"))

    with pytest.raises(OutboxTableError, match=r"lacks the columns error of the table"):
        async with running_shop(database):
            pytest.fail("it started")


async def test_a_database_that_is_away_is_waited_for(own_postgres: PostgresServer) -> None:
    database = Database.on(own_postgres)
    with database.tables():
        (job,) = write(database, 1)
        own_postgres.stop()
        events = Events()
        async with running_shop(database, run_pool=True, hooks=events) as dispatcher:
            await wait_until(lambda: bool(events.failed))
            own_postgres.start()

            async def has_succeeded() -> bool:
                return await dispatcher.publisher(Ship).job(job.id).state() == "succeeded"

            await wait_until(has_succeeded)
            await wait_until(lambda: events.resumed > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "sqlite://"}, "needs an Engine or an AsyncEngine"),
        ({"table": "no table"}, "cannot have a table named 'no table'"),
        ({"table": "x" * 49}, "cannot have a table named"),
        ({"poll": 1}, "poll of an Outbox"),
        ({"poll": timedelta()}, "poll of an Outbox"),
        ({"batch": 0}, "batch of an Outbox"),
        ({"batch": 1001}, "batch of an Outbox"),
        ({"batch": True}, "batch of an Outbox"),
    ],
)
def test_what_an_outbox_cannot_be_is_refused(
    sqlite_database: Database, options: dict[str, Any], message: str
) -> None:
    values: dict[str, Any] = {"engine": sqlite_database.engine(), **options}

    with pytest.raises(ConfigurationError, match=message):
        Outbox(values.pop("engine"), **values)


def test_a_configuration_takes_no_engine_for_an_outbox(sqlite_database: Database) -> None:
    engine: Any = sqlite_database.engine()

    with pytest.raises(ConfigurationError, match="outbox"):
        RedispatcherConfig(redis_dsn="memory://", outbox=engine)


class Unsent(BaseConsumer):
    QUEUE = "unsent"

    class Message(BaseConsumer.Message):
        number: int

    def process_message(self, message: Message) -> None: ...


def test_orders_and_messages_are_committed_together(database: Database) -> None:
    outbox = Outbox(database.engine())
    publisher = Publisher(Unsent, _NoSender(), max_message_bytes=1000, outbox=outbox)
    with Session(database.engine()) as session, session.begin():
        job = publisher.in_transaction(session).publish(Unsent.Message(number=1))
        session.add(Order(number=1, job_id=job.id))

    assert [row.job_id for row in database.rows()] == [job.id]
    assert database.count_orders() == 1
