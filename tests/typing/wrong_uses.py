"""What type checkers must refuse: every line that ends in ``# refused``. Never executed."""
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false
# pyright: reportInvalidTypeArguments=false, reportReturnType=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

from datetime import timedelta
from typing import Any

from redis import Redis as BlockingRedis
from redis import RedisCluster as BlockingRedisCluster
from redis.asyncio import Redis
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchItem,
    CallNext,
    Concurrency,
    ConsumerConfig,
    ConsumerPool,
    Flow,
    Inspector,
    Job,
    Middleware,
    Ordered,
    Outbox,
    PoolHooks,
    Priority,
    Publication,
    Publisher,
    RateLimit,
    RateLimited,
    Redispatcher,
    RedispatcherConfig,
    Run,
    Schedule,
    Schedules,
    Unique,
    chain,
)
from tests.typing.consumers import (
    Enrich,
    Fetch,
    Pages,
    Report,
    Resize,
    Scan,
    SendEmail,
    Store,
    Total,
)


async def messages(publisher: Publisher[Resize], client: Redis) -> None:
    await publisher.publish(SendEmail.Message(address="a"))  # refused
    await publisher.publish(BaseConsumer.Message())  # refused
    await publisher.publish("text")  # refused
    await publisher.publish()  # refused
    await publisher.publish(Resize.Message())  # refused
    await publisher.publish(Resize.Message)  # refused
    await publisher.publish_many([SendEmail.Message(address="a")])  # refused
    await publisher.publish_many(Resize.Message(path="p"))  # refused
    await Resize.publish(SendEmail.Message(address="a"), client)  # refused
    await Report.publish(Resize.Message(path="p"), client)  # refused
    await Resize.publish(Resize.Message(path="p"))  # refused
    await Resize.publish(Resize.Message(path="p"), BlockingRedis())  # refused
    await Resize.publish(Resize.Message(path="p"), BlockingRedisCluster())  # refused


async def schedules(mine: Schedules) -> None:
    hour = timedelta(hours=1)
    await mine.upsert("a", Resize, SendEmail.Message(address="a"), every=hour)  # refused
    await mine.upsert("a", Resize, Resize.Message(path="p"), every=60)  # refused
    await mine.upsert("a", Enrich, Resize.Message(path="p"), every=hour)  # refused
    await mine.upsert("a", Resize.Message(path="p"), every=hour)  # refused
    await mine.pause("a")  # refused
    text: Job[str] = await mine.run_now("a", SendEmail)  # refused
    await text.result()
    Schedule("a", Resize.Message(path="p"), 60)  # refused
    Schedule("a", "message", every=hour)  # refused


async def traits(publisher: Publisher[Resize], client: Redis, inspector: Inspector) -> None:
    message = Resize.Message(path="p")
    await publisher.publish(message, priority="high")  # refused
    await publisher.publish(message, priority=1)  # refused
    await publisher.publish(message, expires=60)  # refused
    await publisher.publish(message, unique=("path",))  # refused
    await publisher.publish(message, unique=Unique(fields=["path"]))  # refused
    await publisher.publish(message, unique=Unique(scope="done"))  # refused
    await publisher.publish(message, unique=Unique(on_conflict="keep"))  # refused
    await publisher.publish(message, urgency=Priority.HIGH)  # refused
    await publisher.publish_many([message], id="chosen")  # refused
    await publisher.publish_many([message], priority="low")  # refused
    await Resize.publish(message, client, expires="tomorrow")  # refused
    await inspector.set_priority(Resize, "a", "high")  # refused
    (await publisher.publish(message)).created = True  # refused


class Hasty(BaseConsumer):
    PRIORITY = "high"  # refused
    EXPIRES = 60  # refused
    UNIQUE = ("path",)  # refused


async def batches(enrich: Publisher[Enrich], client: Redis) -> None:
    await enrich.publish(SendEmail.Message(address="a"))  # refused
    await enrich.publish([Enrich.Message(path="p")])  # refused
    await enrich.publish_many(Enrich.Message(path="p"))  # refused
    await enrich.publish_many([SendEmail.Message(address="a")])  # refused
    await Enrich.publish(SendEmail.Message(address="a"), client)  # refused
    text: Job[str] = await enrich.publish(Enrich.Message(path="p"))  # refused
    await text.result()


def items(enriched: BatchItem[Enrich.Message, int], stored: BatchItem[Store.Message]) -> None:
    enriched.succeed("text")  # refused
    enriched.succeed()  # refused
    stored.succeed(1)  # refused
    enriched.fail("text")  # refused
    enriched.retry(1)  # refused
    enriched.snooze()  # refused
    enriched.message.row.bit_count()  # refused


def batch_options() -> None:
    Batch()  # refused
    Batch(size=1, linger=5)  # refused


async def options(publisher: Publisher[Resize]) -> None:
    message = Resize.Message(path="p")
    await publisher.publish(message, "id")  # refused
    await publisher.publish(message, delay=5)  # refused
    await publisher.publish(message, at=timedelta(seconds=1))  # refused
    await publisher.publish(message, queue="other")  # refused
    await publisher.publish_many([message], id="one")  # refused


async def results(publisher: Publisher[Resize], reports: Publisher[Report]) -> None:
    job: Job[str] = await publisher.publish(Resize.Message(path="p"))  # refused
    text: str = await (await reports.publish(Report.Message(year=1))).result()  # refused
    await job.result()
    text.upper()


def publishers(resizes: Publisher[Resize]) -> Publisher[SendEmail]:
    return resizes  # refused


def of_something_else(publisher: Publisher[int]) -> None: ...  # refused


class Careless(Middleware):
    def around_publish(self, publication: Publication, call_next: CallNext) -> None:  # refused
        publication.id = "other"  # refused
        publication.headers = {}  # refused

    async def around_run(self, run: Publication, call_next: CallNext) -> Any:  # refused
        return await call_next(run)  # refused


def middleware(config: RedispatcherConfig) -> None:
    Redispatcher(config, middleware=Brief())  # refused
    Redispatcher(config, middleware=[Brief])  # refused
    ConsumerPool(config, middleware=[PoolHooks()])  # refused


class Brief(Middleware):
    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        return call_next() + 1  # refused


def configuration() -> None:
    RedispatcherConfig(consumers=[int])  # refused
    RedispatcherConfig(lease=30)  # refused
    ConsumerConfig(consumer_class=int)  # refused


async def transactions(
    resize: Publisher[Resize], emails: Publisher[SendEmail], session: AsyncSession, engine: Engine
) -> None:
    resize.after_commit(session).publish(SendEmail.Message(address="a"))  # refused
    emails.in_transaction(session).publish(Resize.Message(path="p"))  # refused
    resize.after_commit(session).publish(Resize.Message(path="p"), delay=5)  # refused
    resize.after_commit(engine)  # refused
    resize.in_transaction()  # refused
    await resize.after_commit(session).publish(Resize.Message(path="p"))  # refused
    text: Job[str] = resize.after_commit(session).publish(Resize.Message(path="p"))  # refused
    await text.state()
    Outbox("sqlite://")  # refused
    Outbox(engine, poll=1)  # refused
    RedispatcherConfig(outbox=engine)  # refused


async def chains(fetch: Publisher[Fetch], scan: Publisher[Scan]) -> None:
    steps = chain(Fetch).then(Resize)
    chain(Fetch).then(SendEmail)  # refused
    chain(Fetch).then(Fetch)  # refused
    chain(Fetch).then(Enrich)  # refused
    chain(Scan).then(Resize)  # refused
    chain(Resize).then(Resize)  # refused
    chain(Fetch).then(Resize).then(Enrich)  # refused
    chain(SendEmail).then(Resize)  # refused
    chain(Fetch.Message)  # refused
    chain(Fetch).then(Resize, delay=5)  # refused
    chain(Fetch).then(Resize, priority="high")  # refused
    chain(Fetch).then(Resize, id="chosen")  # refused
    await fetch.publish_chain(steps, Resize.Message(path="p"))  # refused
    await scan.publish_chain(steps, Scan.Message(page=1))  # refused
    await fetch.publish_chain(Fetch, Fetch.Message(url="u"))  # refused
    await fetch.publish_chain(steps, Fetch.Message(url="u"), unique=Unique())  # refused
    text: Flow[str] = await fetch.publish_chain(steps, Fetch.Message(url="u"))  # refused
    await text.state()


async def groups(resize: Publisher[Resize], reports: Publisher[Report]) -> None:
    sizes, years = [Resize.Message(path="p")], [Report.Message(year=1)]
    await resize.publish_group(sizes)  # refused
    await resize.publish_group(sizes, then=Pages)  # refused
    await reports.publish_group(years, then=Total)  # refused
    await resize.publish_group(years, then=Total)  # refused
    await resize.publish_group(sizes, then=SendEmail)  # refused
    await resize.publish_group(sizes, then=Total, when="never")  # refused
    number: Flow[int] = await resize.publish_group(sizes, then=Total)  # refused
    await number.cancel()


async def limits(inspector: Inspector) -> None:
    Concurrency("many")  # refused
    Concurrency(1, "tenant_id")  # refused
    RateLimit(100)  # refused
    RateLimit(100, per=60)  # refused
    Ordered()  # refused
    RateLimited()  # refused
    RateLimited(30, scope="tenant")  # refused
    await inspector.set_limits("mail", Concurrency(1))  # refused
    await inspector.pause("mail", "why")  # refused
    await inspector.pause("mail", until=60)  # refused
