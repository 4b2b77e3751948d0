"""Several relays at one table: what one of them has is left alone by the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Connection, event, text

from redispatcher_fastapi import Outbox, QueueFullError
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import CREATED, Answer, Submission
from redispatcher_fastapi.database.moving import Moved, Mover
from tests.database.shop import Database
from tests.database.test_outbox import write
from tests.waiting import wait_until


class GatedSender:
    """Sends what it is let, and notes the ids."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.sent: list[str] = []
        self.is_asked = asyncio.Event()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def send_some(
        self, queue: str, submissions: Sequence[Submission]
    ) -> list[Answer | QueueFullError]:
        self.is_asked.set()
        await self.gate.wait()
        self.sent += [submission.job_id for submission in submissions]
        return [CREATED for _ in submissions]


def make_mover(database: Database, sender: GatedSender, *, batch: int = 100) -> Mover:
    outbox = Outbox(database.async_engine(), batch=batch)
    return Mover(outbox, cast("DirectSender", sender))


async def move(mover: Mover) -> Moved:
    return await mover.move(except_queues=())


async def test_what_one_relay_has_is_passed_over_by_another(postgres_database: Database) -> None:
    first = [job.id for number in range(2) for job in write(postgres_database, number)]
    second = [job.id for number in range(2) for job in write(postgres_database, number)]
    slow, quick = GatedSender(is_open=False), GatedSender()

    moving = asyncio.create_task(move(make_mover(postgres_database, slow, batch=2)))
    await slow.is_asked.wait()
    moved = await move(make_mover(postgres_database, quick, batch=10))
    slow.gate.set()
    await moving

    assert slow.sent == first
    assert quick.sent == second
    assert not moved.is_waiting
    assert postgres_database.rows() == []


async def test_a_transaction_is_not_moved_past_what_another_relay_has_of_it(
    postgres_database: Database,
) -> None:
    first = [job.id for job in write(postgres_database, 1, 2, 3, 4)]
    other = [job.id for job in write(postgres_database, 5)]
    slow, quick = GatedSender(is_open=False), GatedSender()

    moving = asyncio.create_task(move(make_mover(postgres_database, slow, batch=2)))
    await slow.is_asked.wait()
    moved = await move(make_mover(postgres_database, quick))
    assert moved.is_waiting
    assert quick.sent == other
    slow.gate.set()
    await moving
    assert slow.sent == first[:2]

    assert not (await move(make_mover(postgres_database, quick))).is_waiting
    assert quick.sent == [*other, *first[2:]]


async def test_a_relay_that_is_lost_leaves_its_messages_to_others(
    postgres_database: Database,
) -> None:
    jobs = [job.id for job in write(postgres_database, 1, 2)]
    lost, other = GatedSender(is_open=False), GatedSender()
    moving = asyncio.create_task(move(make_mover(postgres_database, lost)))
    await lost.is_asked.wait()
    assert (await move(make_mover(postgres_database, other))).done == []

    moving.cancel()
    await asyncio.wait([moving])

    async def are_moved() -> bool:
        await move(make_mover(postgres_database, other))
        return postgres_database.rows() == []

    await wait_until(are_moved)
    assert other.sent == jobs


async def test_sqlite_is_not_locked_while_redis_is_waited_for(sqlite_database: Database) -> None:
    write(sqlite_database, 1)
    engine = sqlite_database.async_engine()
    event.listen(engine.sync_engine, "begin", begin_immediately)
    slow = GatedSender(is_open=False)
    mover = Mover(Outbox(engine), cast("DirectSender", slow))
    moving = asyncio.create_task(mover.move(except_queues=()))
    await slow.is_asked.wait()

    jobs = write(sqlite_database, 2)
    slow.gate.set()
    await moving

    assert [row.job_id for row in sqlite_database.rows()] == [jobs[0].id]


def begin_immediately(connection: Connection) -> None:
    """Begin as those do who want SQLite to keep others from writing."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def test_relays_see_what_is_committed_whatever_the_engine_usually_does(
    postgres_database: Database,
) -> None:
    engine: Any = postgres_database.async_engine().execution_options(isolation_level="AUTOCOMMIT")
    write(postgres_database, 1)
    sender, other = GatedSender(is_open=False), GatedSender()
    mover = Mover(Outbox(engine), cast("DirectSender", sender))
    moving = asyncio.create_task(move(mover))
    await sender.is_asked.wait()

    # Without a transaction nothing would be locked.
    assert (await move(make_mover(postgres_database, other))).done == []
    sender.gate.set()
    await moving
    with postgres_database.engine().connect() as connection:
        left = connection.execute(text("SELECT count(*) FROM redispatcher_outbox")).scalar_one()
    assert left == 0
