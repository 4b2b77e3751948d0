"""A message lives and dies with the transaction it was published in, whichever way it goes."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy.event.registry
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from redispatcher_fastapi import (
    NoTransactionError,
    Redispatcher,
    TransactionalPublisher,
)
from redispatcher_fastapi.job import Job
from tests.database.conftest import open_database
from tests.database.shop import Order, Sessions, Ship, running_shop
from tests.waiting import wait_until

Way = Literal["after_commit", "in_transaction"]


class Publishing:
    """Publishes in one of both ways, and says what became of it."""

    def __init__(self, dispatcher: Redispatcher, sessions: Sessions, way: Way) -> None:
        self._dispatcher = dispatcher
        self._publisher = dispatcher.publisher(Ship)
        self._way: Way = way
        self.sessions = sessions
        self.jobs: dict[int, Job[int]] = {}

    def bound(self, session: Any) -> TransactionalPublisher[Ship]:
        if self._way == "after_commit":
            return self._publisher.after_commit(session)
        return self._publisher.in_transaction(session)

    def publish(self, session: Any, number: int) -> Job[int]:
        job = self.jobs[number] = self.bound(session).publish(Ship.Message(number=number))
        return job

    async def published(self, *numbers: int) -> bool:
        """Return whether these jobs are in Redis, and no others."""
        found = {number for number, job in self.jobs.items() if await job.state() is not None}
        return found == set(numbers)

    async def assert_published(self, *numbers: int) -> None:
        await wait_until(lambda: self.published(*numbers))
        # What would come late comes before a message of another transaction.
        await self.sessions.run(lambda session: self._publish_last(session))
        await wait_until(lambda: self.published(*numbers, -1))

    def _publish_last(self, session: Session) -> None:
        self.publish(session, -1)
        session.commit()


@pytest.fixture(params=["after_commit", "in_transaction"])
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


SYNC_SQLITE, ASYNC_POSTGRESQL = "sync on sqlite", "async on postgresql"


@pytest.fixture(params=[SYNC_SQLITE, ASYNC_POSTGRESQL])
def combination(request: pytest.FixtureRequest) -> str:
    """Which kind of session works on which database."""
    chosen: str = request.param
    return chosen


@pytest.fixture
async def shop(
    request: pytest.FixtureRequest, tmp_path: Path, combination: str, way: Way
) -> AsyncIterator[Publishing]:
    kind, _, name = combination.partition(" on ")
    database = open_database(request, name, tmp_path)
    with database.tables():
        async with running_shop(database) as dispatcher:
            sessions = Sessions(database, is_async=kind == "async")
            yield Publishing(dispatcher, sessions, way)


every_combination = pytest.mark.parametrize(
    "combination",
    [SYNC_SQLITE, "async on sqlite", "sync on postgresql", ASYNC_POSTGRESQL],
)


@every_combination
async def test_a_message_is_published_by_the_commit(shop: Publishing) -> None:
    def order(session: Session) -> None:
        job = shop.publish(session, 1)
        session.add(Order(number=1, job_id=job.id))

    await shop.sessions.run(
        order, lambda session: session.flush(), lambda session: session.commit()
    )

    await shop.assert_published(1)


async def test_a_message_of_a_rollback_is_never_published(shop: Publishing) -> None:
    def fail(session: Session) -> None:
        shop.publish(session, 1)
        session.flush()
        session.rollback()

    await shop.sessions.run(fail)

    await shop.assert_published()


async def test_a_session_that_is_closed_publishes_nothing(shop: Publishing) -> None:
    await shop.sessions.run(lambda session: void(shop.publish(session, 1)))

    await shop.assert_published()


async def test_a_session_publishes_in_each_of_its_transactions(shop: Publishing) -> None:
    def work(session: Session) -> None:
        shop.publish(session, 1)
        session.commit()
        shop.publish(session, 2)
        session.rollback()
        shop.publish(session, 3)
        session.commit()
        session.commit()

    await shop.sessions.run(work)

    await shop.assert_published(1, 3)


@every_combination
async def test_a_savepoint_takes_its_messages_with_it(shop: Publishing) -> None:
    def work(session: Session) -> None:
        shop.publish(session, 1)
        inner = session.begin_nested()
        shop.publish(session, 2)
        inner.rollback()
        with session.begin_nested():
            shop.publish(session, 3)
            with session.begin_nested():
                shop.publish(session, 4)
        lost = session.begin_nested()
        with session.begin_nested():
            shop.publish(session, 5)
        lost.rollback()
        shop.publish(session, 6)
        session.commit()

    await shop.sessions.run(work)

    await shop.assert_published(1, 3, 4, 6)


async def test_a_released_savepoint_is_still_the_transactions(shop: Publishing) -> None:
    def work(session: Session) -> None:
        with session.begin_nested():
            shop.publish(session, 1)
        session.rollback()

    await shop.sessions.run(work)

    await shop.assert_published()


async def test_a_commit_releases_the_savepoints_that_are_open(shop: Publishing) -> None:
    def work(session: Session) -> None:
        with session.begin():
            shop.publish(session, 1)
            session.begin_nested()
            shop.publish(session, 2)

    await shop.sessions.run(work)

    await shop.assert_published(1, 2)


async def test_what_a_savepoint_took_with_it_is_written_again(shop: Publishing) -> None:
    def work(session: Session) -> None:
        shop.publish(session, 1)
        outer = session.begin_nested()
        middle = session.begin_nested()
        shop.publish(session, 2)
        session.begin_nested()
        middle.commit()  # with one inside that is open, as when all of it is committed
        outer.rollback()
        session.commit()

    await shop.sessions.run(work)

    await shop.assert_published(1)


async def test_a_block_that_raises_publishes_nothing(shop: Publishing) -> None:
    def work(session: Session) -> None:
        with suppress(ValueError), session.begin():
            shop.publish(session, 1)
            raise ValueError
        with session.begin():
            shop.publish(session, 2)

    await shop.sessions.run(work)

    await shop.assert_published(2)


async def test_a_commit_that_fails_publishes_nothing(shop: Publishing) -> None:
    def work(session: Session) -> None:
        session.add(Order(number=1))
        session.commit()
        shop.publish(session, 1)
        session.execute(text("INSERT INTO orders (number) VALUES (2)"))
        session.add(Order(number=2))
        with pytest.raises(Exception, match=r"(?i)unique"):
            session.commit()
        session.rollback()

    await shop.sessions.run(work)

    await shop.assert_published()


async def test_an_event_of_the_flush_publishes_with_the_commit(shop: Publishing) -> None:
    def publish_for(mapper: object, connection: object, order: Order) -> None:
        session = Session.object_session(order)
        shop.publish(session, order.number)

    def work(session: Session) -> None:
        session.add_all([Order(number=1), Order(number=2)])
        session.commit()

    event.listen(Order, "after_insert", publish_for)
    try:
        await shop.sessions.run(work)
    finally:
        event.remove(Order, "after_insert", publish_for)

    await shop.assert_published(1, 2)


async def test_a_transaction_has_to_be_begun_where_the_session_begins_none(
    shop: Publishing,
) -> None:
    def work(session: Session) -> None:
        with pytest.raises(NoTransactionError, match="in no transaction"):
            shop.publish(session, 1)
        with session.begin():
            shop.publish(session, 2)

    await shop.sessions.run(work, autobegin=False)

    await shop.assert_published(2)


async def test_a_transaction_that_is_committed_takes_no_more(shop: Publishing) -> None:
    refused: list[NoTransactionError] = []

    def publish_late(session: Session) -> None:
        try:
            shop.bound(session).publish(Ship.Message(number=2))
        except NoTransactionError as error:
            refused.append(error)

    def work(session: Session) -> None:
        shop.publish(session, 1)
        event.listen(session, "after_commit", publish_late)
        session.commit()
        event.remove(session, "after_commit", publish_late)

    await shop.sessions.run(work)

    await shop.assert_published(1)
    assert "committed already" in str(refused[0])


async def test_a_message_that_cannot_be_encoded_is_refused_at_once(shop: Publishing) -> None:
    def work(session: Session) -> None:
        with pytest.raises(TypeError, match=r"takes exactly Ship\.Message"):
            shop.bound(session).publish(Order(number=1))  # type: ignore[call-overload]  # on purpose
        shop.publish(session, 2)
        session.commit()

    await shop.sessions.run(work)

    await shop.assert_published(2)


async def test_nothing_is_left_of_a_session(shop: Publishing) -> None:
    def work(session: Session) -> None:
        for _ in range(3):
            shop.publish(session, 1)
            session.commit()
            shop.publish(session, 2)
            session.rollback()

    before = count_listeners()
    for _ in range(5):
        await shop.sessions.run(work)

    assert count_listeners() == before


def count_listeners() -> int:
    gc.collect()
    registry: Any = sqlalchemy.event.registry
    return len(registry._key_to_collection)


def void(_: object) -> None:
    """Leave a result alone, where a step returns nothing."""
