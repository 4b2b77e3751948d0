"""What type checkers must accept, and which types they must see. Never executed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, assert_type

from fastapi import Depends, FastAPI
from redis.asyncio import Redis
from sqlalchemy import Engine, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from redispatcher_fastapi import (
    BaseConsumer,
    BatchItem,
    BatchRun,
    CallNext,
    Cancellation,
    Chain,
    Concurrency,
    ConsumerConfig,
    ConsumerPool,
    Disposition,
    Fair,
    Flow,
    Inspector,
    Job,
    JobContext,
    JobState,
    Middleware,
    Misfire,
    OnConflict,
    Ordered,
    Outbox,
    Overlap,
    PoolHooks,
    Priority,
    Publication,
    Publisher,
    QueueRecord,
    RateLimit,
    RateLimited,
    Redispatcher,
    RedispatcherConfig,
    Run,
    Schedule,
    ScheduleRecord,
    StopReason,
    StopRequested,
    TransactionalPublisher,
    Unique,
    UniqueScope,
    Waiting,
    chain,
)
from redispatcher_fastapi.hooks import Delivery, Died, Outcome, TakenBack
from tests.typing.consumers import (
    Created,
    Enrich,
    Fetch,
    Index,
    Inherited,
    Nightly,
    Pages,
    Report,
    Resize,
    Scan,
    SendEmail,
    Store,
    StoreElsewhere,
    Total,
)

app = FastAPI()
dispatcher = Redispatcher(
    RedispatcherConfig(consumers=[SendEmail, ConsumerConfig(consumer_class=Report, count=2)]),
    run_pool=True,
)
app.include_router(dispatcher.router)

Emails = Annotated[Publisher[SendEmail], Depends()]


@app.post("/")
async def endpoint(emails: Emails, reports: Publisher[Report] = Depends()) -> str:
    job = await emails.publish(SendEmail.Message(address="a"))
    assert_type(job, Job[None])
    assert_type(await reports.publish(Report.Message(year=1)), Job[list[str]])
    return job.id


async def all_options(publisher: Publisher[Resize]) -> None:
    job = await publisher.publish(
        Resize.Message(path="p"),
        id="chosen",
        delay=timedelta(seconds=1),
        headers=Resize.Headers(tenant="t"),
        priority=Priority.HIGH,
        expires=timedelta(hours=1),
        unique=Unique(fields=("path",), scope=UniqueScope.WAITING, on_conflict=OnConflict.RAISE),
    )
    assert_type(job, Job[int])
    assert_type(job.disposition, Disposition)
    assert_type(job.created, bool)
    assert_type(await job.result(timeout=1.5), int)
    assert_type(await job.result(timeout=timedelta(seconds=1)), int)
    assert_type(await job.state(), JobState | None)
    assert_type(await job.cancel(), bool)
    assert_type(publisher.job(job.id), Job[int])
    await publisher.publish(Resize.Message(path="p"), at=datetime.now(UTC), headers={"a": "b"})
    await publisher.publish(Resize.Message(path="p"), expires=datetime.now(UTC), priority=None)
    await publisher.publish(Resize.Message(path="p"), unique=Unique(scope=timedelta(days=1)))


async def many(resizes: Publisher[Resize], reports: Publisher[Report]) -> None:
    assert_type(await resizes.publish_many(Resize.Message(path=p) for p in "ab"), list[Job[int]])
    assert_type(
        await reports.publish_many(
            [Report.Message(year=1)],
            delay=timedelta(hours=1),
            priority=Priority.LOW,
            expires=timedelta(hours=2),
            unique=Unique(),
        ),
        list[Job[list[str]]],
    )


class Latest(BaseConsumer):
    QUEUE = "latest"
    PRIORITY = Priority.LOW
    EXPIRES = timedelta(hours=1)
    UNIQUE = Unique(fields=("page",), on_conflict=OnConflict.REPLACE)

    class Message(BaseConsumer.Message):
        page: int

    async def process_message(self, message: Message) -> None: ...


async def without_a_dispatcher(client: Redis) -> None:
    assert_type(await Resize.publish(Resize.Message(path="p"), client, id="chosen"), Job[int])
    assert_type(
        await Latest.publish(Latest.Message(page=1), client, priority=Priority.HIGH), Job[None]
    )
    assert_type(await Report.publish(Report.Message(year=1), client), Job[list[str]])
    assert_type(await Nightly.publish(Inherited.Message(text="t"), client), Job[dict[str, int]])


async def inherited(publisher: Publisher[Nightly], index: Publisher[Index]) -> None:
    assert_type(await publisher.publish(Nightly.Message(text="t")), Job[dict[str, int]])
    assert_type(await index.publish(Index.Message(event=Created())), Job[bool])


async def from_the_dispatcher() -> None:
    assert_type(dispatcher.publisher(Resize), Publisher[Resize])
    assert_type(dispatcher.inspector, Inspector)
    job = await dispatcher.publisher(Resize).publish(Resize.Message(path="p"))
    assert_type(job, Job[int])


async def batches(
    enrich: Publisher[Enrich], store: Publisher[Store], elsewhere: Publisher[StoreElsewhere]
) -> None:
    assert_type(await enrich.publish(Enrich.Message(path="p"), id="chosen"), Job[int])
    assert_type(await enrich.publish_many([Enrich.Message(path="p")]), list[Job[int]])
    assert_type(enrich.job("id"), Job[int])
    assert_type(await store.publish(Store.Message(row=1)), Job[None])
    assert_type(await elsewhere.publish(Store.Message(row=1)), Job[None])
    assert_type(dispatcher.publisher(Enrich), Publisher[Enrich])


async def batches_without_a_dispatcher(client: Redis) -> None:
    assert_type(await Enrich.publish(Enrich.Message(path="p"), client), Job[int])
    assert_type(await Store.publish(Store.Message(row=1), client), Job[None])


def items(enriched: BatchItem[Enrich.Message, int], stored: BatchItem[Store.Message]) -> None:
    assert_type(enriched.message, Enrich.Message)
    assert_type(enriched.attempt, int)
    assert_type(enriched.context, JobContext)
    enriched.succeed(1)
    enriched.fail(ValueError("no"))
    enriched.retry()
    enriched.retry(timedelta(seconds=1), reason="busy")
    enriched.snooze(timedelta(seconds=1))
    enriched.reject("no")
    stored.succeed()


class Watching(Middleware):
    """Says of all it is given what it is."""

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        assert_type(publication.consumer, type[BaseConsumer])
        assert_type(publication.delay, timedelta | None)
        publication.headers["tenant"] = "blue"
        assert_type(await call_next(), list[Job[Any]])

    async def around_run(self, run: Run, call_next: CallNext[Any]) -> Any:
        assert_type(run.context, JobContext)
        if isinstance(run.message, Resize.Message):
            run.message.path.upper()
        return await call_next()

    async def around_batch(self, batch: BatchRun, call_next: CallNext[None]) -> None:
        for item in batch.items:
            assert_type(item, BatchItem[Any, Any])
        await call_next()


class Brief(Middleware):
    """What comes of a call need not be said where it is not looked at."""

    async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
        await call_next()

    async def around_run(self, run: Run, call_next: CallNext) -> str:
        return str(await call_next())


class Alarm(PoolHooks):
    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        if isinstance(outcome, Died):
            assert_type(delivery.job_id, str)
            assert_type(outcome.reason, str)

    def job_taken_back(self, taken: TakenBack) -> None:
        assert_type(taken.losses, int)


def with_middleware(config: RedispatcherConfig) -> None:
    Redispatcher(config, middleware=[Watching(), Brief()], hooks=Alarm())
    ConsumerPool(config, middleware=(Watching(),))


async def schedules(dispatcher: Redispatcher) -> None:
    mine = dispatcher.schedules
    hour = timedelta(hours=1)
    record = await mine.upsert("a", Resize, Resize.Message(path="p"), every=hour, jitter=hour)
    await mine.upsert(
        "b",
        SendEmail,
        SendEmail.Message(address="a"),
        cron="0 3 * * *",
        tz="Europe/Oslo",
        misfire=Misfire.all(3),
        overlap=Overlap.SKIP,
    )
    await mine.upsert("c", Enrich, Enrich.Message(path="p"), every=hour)
    assert_type(record, ScheduleRecord)
    assert_type(record.next_runs(3), list[datetime])
    assert_type(await mine.list(Report), list[ScheduleRecord])
    assert_type(await mine.list(), list[ScheduleRecord])
    assert_type(await mine.get("a", Resize), ScheduleRecord | None)
    assert_type(await mine.run_now("a", Resize), Job[int])
    await mine.pause("a", Resize)
    await mine.resume("c", Enrich)
    assert_type(await mine.delete("a", Resize), bool)
    config = ConsumerConfig(
        consumer_class=Resize, schedules=[Schedule("a", Resize.Message(path="p"), every=hour)]
    )
    assert_type(config.all_schedules, tuple[Schedule, ...])


ConsumerT = TypeVar("ConsumerT", bound=BaseConsumer)


def stopping(context: JobContext) -> None:
    assert_type(context.stop_reason, StopReason | None)
    assert_type(context.cancellation, Cancellation)
    assert_type(context.cancellation.is_requested, bool)
    try:
        context.cancellation.raise_if_requested()
    except StopRequested as request:
        assert_type(request.reason, StopReason)


async def operating(inspector: Inspector) -> None:
    assert_type(await inspector.cancel(Resize, "a"), bool)
    assert_type(await inspector.cancel("resize", "a"), bool)
    assert_type(await inspector.set_priority(Resize, "a", Priority.HIGH), bool)
    assert_type(await inspector.set_priority("resize", "a", Priority.HIGH), bool)
    record = await inspector.job(Resize, "a")
    assert record is not None
    assert_type(record.priority, Priority)
    assert_type(record.expires_at, datetime | None)
    assert_type(record.is_cancelling, bool)


def generic(publisher: Publisher[ConsumerT]) -> Publisher[ConsumerT]:
    return publisher


def any_of_them(publisher: Publisher[SendEmail]) -> Publisher[BaseConsumer]:
    return publisher


def results_are_covariant(job: Job[bool]) -> Job[int]:
    return job


async def transactions(
    resize: Publisher[Resize],
    emails: Publisher[SendEmail],
    enrich: Publisher[Enrich],
    session: Session,
    async_session: AsyncSession,
    scoped: scoped_session[Session],
    async_scoped: async_scoped_session[AsyncSession],
) -> None:
    bound = resize.after_commit(session)
    assert_type(bound, TransactionalPublisher[Resize])
    assert_type(bound.publish(Resize.Message(path="p")), Job[int])
    assert_type(
        emails.in_transaction(async_session).publish(
            SendEmail.Message(address="a"), id="chosen", at=datetime.now(UTC), headers={"a": 1}
        ),
        Job[None],
    )
    item = Enrich.Message(path="p")
    assert_type(enrich.after_commit(scoped).publish(item), Job[int])
    assert_type(enrich.in_transaction(async_scoped).publish(item), Job[int])


def outboxes(engine: Engine, async_engine: AsyncEngine) -> RedispatcherConfig:
    outbox = Outbox(engine, table="messages", poll=timedelta(seconds=5), batch=10)
    assert_type(outbox.table, Table)
    assert_type(outbox.metadata, MetaData)
    return RedispatcherConfig(outbox=Outbox(async_engine, metadata=outbox.metadata))


async def chains(fetch: Publisher[Fetch], scan: Publisher[Scan]) -> None:
    steps = chain(Fetch).then(Resize, priority=Priority.HIGH, delay=timedelta(seconds=1))
    assert_type(steps, Chain[Fetch.Message, int])
    flow = await fetch.publish_chain(steps, Fetch.Message(url="u"), id="chosen", headers={"a": 1})
    assert_type(flow, Flow[int])
    assert_type(await flow.result(timeout=5), int)
    assert_type(await flow.state(), JobState | None)
    assert_type(await flow.cancel(), bool)
    assert_type(flow.jobs, tuple[Job[Any], ...])
    batched = chain(Scan).then(Enrich)
    assert_type(batched, Chain[Scan.Message, int])
    assert_type(await scan.publish_chain(batched, Scan.Message(page=1)), Flow[int])
    assert_type(chain(Report), Chain[Report.Message, list[str]])
    assert_type(chain(Enrich), Chain[Enrich.Message, int])


async def groups(
    resize: Publisher[Resize], enrich: Publisher[Enrich], reports: Publisher[Report]
) -> None:
    sizes = [Resize.Message(path="p")]
    assert_type(await resize.publish_group(sizes, then=Total), Flow[float])
    assert_type(
        await resize.publish_group(sizes, then=Total, when="first_failure", id="g"), Flow[float]
    )
    assert_type(await enrich.publish_group([Enrich.Message(path="p")], then=Total), Flow[float])
    assert_type(await reports.publish_group([Report.Message(year=1)], then=Pages), Flow[str])


class Limited(BaseConsumer):
    QUEUE = "limited"
    LIMITS = (
        Concurrency(50),
        Concurrency(5, key="tenant"),
        RateLimit(100, per=timedelta(minutes=1), key=("tenant",)),
        Fair(key="tenant"),
    )

    class Message(BaseConsumer.Message):
        tenant: str

    async def process_message(self, message: Message) -> None:
        raise RateLimited(timedelta(seconds=30), scope="queue")


class InLine(BaseConsumer):
    QUEUE = "in-line"
    LIMITS = [Ordered(key="tenant")]  # noqa: RUF012  # as most would write it

    class Message(BaseConsumer.Message):
        tenant: str

    async def process_message(self, message: Message) -> None: ...


async def limits(inspector: Inspector) -> None:
    ConsumerConfig(consumer_class=Limited, limits=[Concurrency(1), RateLimit(1, per=timedelta(1))])
    await inspector.set_limits(Limited, [Concurrency(5, key="*")])
    await inspector.set_limits("limited", None)
    await inspector.pause(Limited, reason="why", until=datetime.now(UTC))
    assert_type(await inspector.resume("limited"), bool)
    assert_type(await inspector.queue(Limited), QueueRecord)
    assert_type(await inspector.why(Limited, "id"), Waiting | None)
