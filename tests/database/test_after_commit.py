"""``publisher.after_commit(session)``: what happens between the commit and Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from datetime import timedelta
from typing import Annotated, Any, get_overloads

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    Job,
    Middleware,
    MiddlewareError,
    NotRunningError,
    Outbox,
    PoolHooks,
    Publisher,
    QueueFullError,
    Redispatcher,
    RedispatcherConfig,
    TransactionalPublisher,
)
from redispatcher_fastapi.broker.types import CREATED, Answer, Submission
from redispatcher_fastapi.database import AfterCommit
from redispatcher_fastapi.hooks import LoggingHooks
from redispatcher_fastapi.middleware import CallNext, Publication
from tests.database.shop import Bill, Database, Order, Ship, running_shop
from tests.waiting import wait_until


class Failures(PoolHooks):
    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str], Exception]] = []

    def after_commit_failed(self, queue: str, job_ids: list[str], error: Exception) -> None:
        self.seen.append((queue, job_ids, error))


@pytest.fixture
async def shop(sqlite_database: Database) -> AsyncIterator[Redispatcher]:
    async with running_shop(sqlite_database, has_outbox=False) as dispatcher:
        yield dispatcher


@pytest.fixture
async def session(sqlite_database: Database) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(sqlite_database.async_engine()) as session:
        yield session


async def test_the_commit_of_an_async_session_returns_when_the_job_is_there(
    shop: Redispatcher, session: AsyncSession
) -> None:
    job = shop.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
    session.add(Order(number=1, job_id=job.id))
    await session.flush()
    assert await job.state() is None

    await session.commit()

    assert await job.state() == "queued"
    order = await session.get_one(Order, 1)
    assert order.job_id == job.id


async def test_the_commit_in_a_thread_returns_when_the_job_is_there(
    shop: Redispatcher, sqlite_database: Database
) -> None:
    publisher = shop.publisher(Ship)

    def work() -> Job[int]:
        with Session(sqlite_database.engine()) as session, session.begin():
            return publisher.after_commit(session).publish(Ship.Message(number=1))

    job = await asyncio.to_thread(work)

    assert await job.state() == "queued"


async def test_a_sync_session_on_the_event_loop_does_not_block_it(
    shop: Redispatcher, sqlite_database: Database
) -> None:
    with Session(sqlite_database.engine()) as session:
        job = shop.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
        session.commit()

    async def is_there() -> bool:
        return await job.state() is not None

    await wait_until(is_there)


async def test_what_is_underway_is_finished_before_the_application_ends(
    sqlite_database: Database,
) -> None:
    failures = Failures()
    async with running_shop(
        sqlite_database, redis_dsn="memory://finishing", has_outbox=False, hooks=failures
    ) as dispatcher:
        with Session(sqlite_database.engine()) as session:
            job = dispatcher.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
            session.commit()

    async with running_shop(
        sqlite_database, redis_dsn="memory://finishing", has_outbox=False
    ) as dispatcher:
        assert await dispatcher.publisher(Ship).job(job.id).state() == "queued"
    assert failures.seen == []


async def test_scoped_sessions_are_taken(shop: Redispatcher, sqlite_database: Database) -> None:
    scoped = scoped_session(sessionmaker(sqlite_database.engine()))
    async_scoped = async_scoped_session(
        async_sessionmaker(sqlite_database.async_engine()), scopefunc=asyncio.current_task
    )

    first = shop.publisher(Ship).after_commit(scoped).publish(Ship.Message(number=1))
    second = shop.publisher(Ship).after_commit(async_scoped).publish(Ship.Message(number=2))
    await asyncio.to_thread(scoped.registry.clear)
    scoped.commit()
    await async_scoped.commit()
    await async_scoped.remove()
    scoped.remove()

    assert await second.state() == "queued"

    async def is_there() -> bool:
        return await first.state() is not None

    await wait_until(is_there)


async def test_a_full_queue_is_reported_and_not_raised(
    sqlite_database: Database, session: AsyncSession
) -> None:
    failures = Failures()
    async with running_shop(
        sqlite_database, has_outbox=False, hooks=failures, max_queue_length=2
    ) as dispatcher:
        ships = dispatcher.publisher(Ship).after_commit(session)
        jobs = [ships.publish(Ship.Message(number=number)) for number in range(3)]
        bill = dispatcher.publisher(Bill).after_commit(session).publish(Bill.Message(number=1))
        await session.commit()

        ((queue, job_ids, error),) = failures.seen
        assert (queue, job_ids) == ("ship", [job.id for job in jobs])
        assert isinstance(error, QueueFullError)
        assert [await job.state() for job in jobs] == [None, None, None]
        assert await bill.state() == "queued"


async def test_a_redis_that_is_away_is_reported_and_not_raised(
    sqlite_database: Database, session: AsyncSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_shop(
        sqlite_database,
        redis_dsn="redis://127.0.0.1:1",
        has_outbox=False,
        publish_timeout=timedelta(milliseconds=100),
    ) as dispatcher:
        job = dispatcher.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
        session.add(Order(number=1))
        await session.commit()

    assert sqlite_database.count_orders() == 1
    (record,) = [each for each in caplog.records if each.name == "redispatcher.job"]
    assert vars(record)["event"] == "publish.after_commit_failed"
    assert vars(record)["job_ids"] == [job.id]
    assert vars(record)["reason"] == "uncertain"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_commit_after_the_end_of_the_application_is_reported(
    sqlite_database: Database, session: AsyncSession, is_async: bool
) -> None:
    failures = Failures()
    async with running_shop(sqlite_database, has_outbox=False, hooks=failures) as dispatcher:
        publisher = dispatcher.publisher(Ship)

    def work() -> None:
        with Session(sqlite_database.engine()) as session, session.begin():
            publisher.after_commit(session).publish(Ship.Message(number=1))

    if is_async:
        publisher.after_commit(session).publish(Ship.Message(number=1))
        await session.commit()
    else:
        await asyncio.to_thread(work)

    ((queue, _, error),) = failures.seen
    assert queue == "ship"
    assert isinstance(error, NotRunningError)


class SlowSender:
    """Sends when it is let, and notes what in which call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.may_send = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def store(self) -> Any:
        return None

    async def send(self, queue: str, submission: Submission) -> Answer:
        return (await self.send_many(queue, [submission]))[0]

    async def send_many(self, queue: str, submissions: Any) -> list[Answer]:
        await self.may_send.wait()
        self.calls.append((queue, [submission.job_id for submission in submissions]))
        return [CREATED for _ in submissions]

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Future[bool]:
        done = Future[bool]()
        task = asyncio.get_running_loop().create_task(work())
        self.tasks.add(task)
        task.add_done_callback(lambda _: done.set_result(True))
        return done


def publisher_with(sender: SlowSender) -> Publisher[Ship]:
    after_commit = AfterCommit(sender, LoggingHooks())
    return Publisher(Ship, sender, max_message_bytes=1000, after_commit=after_commit)


async def test_all_of_a_transaction_goes_out_in_one_call_for_each_queue(
    session: AsyncSession,
) -> None:
    sender = SlowSender()
    sender.may_send.set()
    ships = publisher_with(sender).after_commit(session)

    jobs = [ships.publish(Ship.Message(number=number)) for number in range(5)]
    await session.commit()

    assert sender.calls == [("ship", [job.id for job in jobs])]


async def test_a_publish_goes_on_when_the_commit_is_cancelled(session: AsyncSession) -> None:
    sender = SlowSender()
    job = publisher_with(sender).after_commit(session).publish(Ship.Message(number=1))

    committing = asyncio.get_running_loop().create_task(session.commit())
    await wait_until(lambda: bool(sender.tasks))
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    sender.may_send.set()

    await wait_until(lambda: sender.calls == [("ship", [job.id])])
    await session.execute(Order.__table__.select())  # the session is as good as before


async def test_a_publish_that_the_end_of_the_application_cuts_off_is_reported(
    session: AsyncSession, caplog: pytest.LogCaptureFixture
) -> None:
    sender = SlowSender()
    publisher = publisher_with(sender)
    publisher.after_commit(session).publish(Ship.Message(number=1))
    committing = asyncio.get_running_loop().create_task(session.commit())
    await wait_until(lambda: bool(sender.tasks))

    (task,) = sender.tasks
    task.cancel()
    await committing

    (record,) = [each for each in caplog.records if each.name == "redispatcher.job"]
    assert "The application stopped meanwhile" in record.getMessage()


class Tenancy(Middleware):
    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        publication.headers["tenant"] = "blue"
        await call_next()


class Waits(Middleware):
    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        await call_next()
        await asyncio.sleep(0)


async def test_middleware_goes_around_the_publish(session: AsyncSession) -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Ship])
    dispatcher = Redispatcher(config, middleware=[Tenancy()])
    async with dispatcher.lifespan():
        job = dispatcher.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
        await session.commit()

        record = await job.info()

    assert record is not None
    assert record.headers == {"tenant": "blue"}


async def test_middleware_that_waits_is_refused_and_nothing_is_published(
    session: AsyncSession,
) -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Ship])
    dispatcher = Redispatcher(config, middleware=[Waits()])
    async with dispatcher.lifespan():
        with pytest.raises(MiddlewareError, match="waits for something in around_publish"):
            dispatcher.publisher(Ship).after_commit(session).publish(Ship.Message(number=1))
        await session.commit()

        assert sum((await dispatcher.inspector.counts("ship")).values()) == 0


async def get_session() -> AsyncIterator[AsyncSession]:
    raise NotImplementedError  # an application overrides it
    yield


class Take(BaseConsumer):
    QUEUE = "take"

    class Message(BaseConsumer.Message):
        number: int
        fails: bool

    async def process_message(
        self,
        message: Message,
        session: Annotated[AsyncSession, Depends(get_session)],
        publisher: Annotated[Publisher[Ship], Depends()],
    ) -> str:
        job = publisher.after_commit(session).publish(Ship.Message(number=message.number))
        await session.flush()
        if message.fails:
            raise LookupError(job.id)
        await session.commit()
        return job.id


async def test_a_consumer_publishes_with_a_session_of_its_own(sqlite_database: Database) -> None:
    engine = sqlite_database.async_engine()

    async def open_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Take])
    dispatcher = Redispatcher(config, run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)
    app.dependency_overrides[get_session] = open_session
    async with app.router.lifespan_context(app):
        ships, takes = dispatcher.publisher(Ship), dispatcher.publisher(Take)
        failed = await takes.publish(Take.Message(number=1, fails=True))
        taken = await takes.publish(Take.Message(number=2, fails=False))

        assert await ships.job(await taken.result(20)).state() == "queued"

        async def has_failed() -> bool:
            return await failed.state() == "retrying"

        await wait_until(has_failed)
        assert sum((await dispatcher.inspector.counts("ship")).values()) == 1


async def test_what_is_no_session_is_refused(shop: Redispatcher) -> None:
    no_session: Any = object()

    with pytest.raises(ConfigurationError, match="needs a Session or an AsyncSession"):
        shop.publisher(Ship).after_commit(no_session)


async def test_without_sqlalchemy_the_error_names_the_extra(
    shop: Redispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    nothing: Any = object()

    with pytest.raises(ConfigurationError, match=r"redispatcher-fastapi\[sqlalchemy\]"):
        shop.publisher(Ship).after_commit(nothing)
    with pytest.raises(ConfigurationError, match=r"redispatcher-fastapi\[sqlalchemy\]"):
        Outbox(nothing)


def test_a_dispatcher_without_a_database_does_not_import_sqlalchemy() -> None:
    look = (
        "import sys; from redispatcher_fastapi import Redispatcher, RedispatcherConfig;"
        "Redispatcher(RedispatcherConfig(redis_dsn='memory://'));"
        "print('sqlalchemy' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_its_options_are_those_of_a_publish() -> None:
    methods: list[Any] = [Publisher.__dict__["publish"], TransactionalPublisher.__dict__["publish"]]
    usual, transactional = (
        [set(each.__annotations__) - {"self", "return"} for each in get_overloads(method)]
        for method in methods
    )

    assert len(usual) == len(transactional) > 1
    assert all(options == usual[0] for options in (*usual, *transactional))
