"""Processes, PostgreSQL and Redis are lost at the worst moments."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from redispatcher_fastapi import Redispatcher
from tests.database.shop import Database, Order, Ship, running_shop
from tests.database.test_outbox import Events, write
from tests.databases import PostgresServer
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]
PATIENCE = timedelta(seconds=90)


class Child:
    """One run of :mod:`tests.database.child`."""

    def __init__(self, database: Database, dsn: str, **told: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.database.child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        order = {"sync_url": database.sync_url, "async_url": database.async_url, "dsn": dsn}
        self._process.stdin.write(json.dumps(order | told).encode() + b"\n")
        self._process.stdin.close()

    @property
    def has_died(self) -> bool:
        code = self._process.poll()
        assert code in {None, -signal.SIGKILL}, code
        return code is not None

    async def wait_until_lost(self) -> None:
        await wait_until(lambda: self.has_died, timeout=PATIENCE)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


@asynccontextmanager
async def relays(
    database: Database, dsn: str, *, likelihoods: tuple[float, float]
) -> AsyncGenerator[list[int], None]:
    """Keep three relays at work: whoever is lost is followed by another. Counts the lost.

    The likelihoods, to be lost after a batch, are those of the first three and of the others.
    """
    first, later = likelihoods
    lost = [0]
    working = [Child(database, dsn, likelihood=first) for _ in range(3)]

    async def replace_lost() -> None:
        while True:
            for index, child in enumerate(working):
                if child.has_died:
                    lost[0] += 1
                    working[index] = Child(database, dsn, likelihood=later)
            await asyncio.sleep(0.02)

    replacing = asyncio.create_task(replace_lost())
    try:
        yield lost
    finally:
        replacing.cancel()
        await asyncio.wait([replacing])
        for child in working:
            child.kill()


@pytest.fixture
def store(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")
    return redis_server.dsn


async def queued_ids(dispatcher: Redispatcher) -> list[str]:
    """Return all jobs of the queue in their order."""
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await dispatcher.inspector.jobs("ship", "queued", limit=200, cursor=cursor)
        ids += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return ids


@pytest.mark.slow
async def test_a_process_that_is_lost_after_the_commit_loses_only_what_is_not_in_the_outbox(
    postgres_database: Database, store: str
) -> None:
    for way, jobs in (("after_commit", 0), ("in_transaction", 1)):
        await Child(postgres_database, store, way=way).wait_until_lost()

        async with running_shop(postgres_database, redis_dsn=store, run_pool=True) as dispatcher:
            assert postgres_database.count_orders() == 1
            await wait_until(lambda: postgres_database.rows() == [])
            if jobs:
                assert await dispatcher.publisher(Ship).job("the-job").result(20) == 1
            counts = await dispatcher.inspector.counts("ship")
            assert sum(counts.values()) == jobs
        with postgres_database.engine().begin() as connection:
            connection.execute(delete(Order))


@pytest.mark.slow
async def test_a_relay_that_is_lost_between_redis_and_the_deletion_leaves_one_job(
    postgres_database: Database, store: str
) -> None:
    (job,) = write(postgres_database, 1)
    await Child(postgres_database, store, likelihood=1).wait_until_lost()
    assert len(postgres_database.rows()) == 1

    events = Events()
    async with running_shop(
        postgres_database, redis_dsn=store, run_pool=True, hooks=events
    ) as dispatcher:
        handle = dispatcher.publisher(Ship).job(job.id)
        assert await handle.result(20) == 1
        await wait_until(lambda: postgres_database.rows() == [])
        record = await handle.info()
        counts = await dispatcher.inspector.counts("ship")

    assert record is not None
    assert record.attempts == 1
    assert sum(counts.values()) == 1


async def lose_relays(
    database: Database, dsn: str, *, transactions: int, likelihoods: tuple[float, float]
) -> int:
    """Commit in transactions of five while relays are lost; return how many were."""
    chance = random.Random(1)
    committed: list[list[str]] = []
    async with (
        running_shop(database, redis_dsn=dsn, has_outbox=False) as dispatcher,
        relays(database, dsn, likelihoods=likelihoods) as lost,
    ):
        for number in range(transactions):
            ids = await asyncio.to_thread(write, database, *range(5 * number, 5 * number + 5))
            committed.append([job.id for job in ids])
            await asyncio.sleep(chance.random() * 0.02)
        await wait_until(lambda: database.rows() == [], timeout=PATIENCE)
        assert_exactly_once(await queued_ids(dispatcher), committed)
    return lost[0]


def assert_exactly_once(found: Sequence[str], committed: Sequence[Sequence[str]]) -> None:
    everything = [job_id for ids in committed for job_id in ids]
    assert sorted(found) == sorted(everything)
    place = {job_id: index for index, job_id in enumerate(found)}
    for ids in committed:
        assert [place[job_id] for job_id in ids] == sorted(place[job_id] for job_id in ids)


@pytest.mark.slow
async def test_three_relays_that_are_lost_and_their_successors_move_each_message_once(
    postgres_database: Database, store: str
) -> None:
    lost = await lose_relays(postgres_database, store, transactions=12, likelihoods=(1, 0))

    assert lost > 0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_thousand_messages_over_three_relays_that_are_lost_at_random(
    postgres_database: Database, store: str
) -> None:
    lost = await lose_relays(postgres_database, store, transactions=200, likelihoods=(0.1, 0.1))

    assert lost > 5
    print(f"\n1,000 messages, {lost} relays lost: each has exactly one job.")  # noqa: T201


async def test_a_crash_of_postgresql_loses_nothing_that_was_committed(
    own_postgres: PostgresServer, store: str
) -> None:
    database = Database.on(own_postgres)
    committed: list[str] = []
    with database.tables():
        async with running_shop(database, redis_dsn=store) as dispatcher:
            publisher = dispatcher.publisher(Ship)

            async def commit(number: int) -> None:
                try:
                    async with AsyncSession(database.async_engine()) as session:
                        job = publisher.in_transaction(session).publish(Ship.Message(number=number))
                        session.add(Order(number=number, job_id=job.id))
                        await session.commit()
                except (DBAPIError, OSError):
                    return
                committed.append(job.id)

            for number in range(40):
                if number == 20:
                    own_postgres.crash()
                    await commit(-1)
                    own_postgres.start()
                await commit(number)

            await wait_until(lambda: database.rows() == [])
            assert len(committed) == 40
            assert_exactly_once(await queued_ids(dispatcher), [[each] for each in committed])


async def test_a_redis_that_is_away_is_waited_for(
    sqlite_database: Database, redis_servers: RedisServers
) -> None:
    server = redis_servers.start(is_durable=True)
    events = Events()
    async with running_shop(
        sqlite_database,
        redis_dsn=server.dsn,
        hooks=events,
        publish_timeout=timedelta(milliseconds=200),
    ) as dispatcher:
        publisher = dispatcher.publisher(Ship)
        server.kill()
        jobs: list[str] = []
        for number in range(3):
            async with AsyncSession(sqlite_database.async_engine()) as session:
                job = publisher.in_transaction(session).publish(Ship.Message(number=number))
                jobs.append(job.id)
                await session.commit()
        await wait_until(lambda: bool(events.failed))
        assert events.failed[0].startswith("Redis did not confirm the publish to 'ship'")
        assert "ublish again" not in events.failed[0]  # the outbox does it by itself
        assert len(sqlite_database.rows()) == 3

        server.start()
        await wait_until(lambda: sqlite_database.rows() == [])
        await wait_until(lambda: events.resumed == 1)
        assert await queued_ids(dispatcher) == jobs
