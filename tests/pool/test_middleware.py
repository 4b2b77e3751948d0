"""What middleware does in a running pool: its errors are the job's, and the pool goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import Depends

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    BatchRun,
    CallNext,
    ConsumerConfig,
    Fixed,
    JobFailedError,
    JobState,
    Middleware,
    Publication,
    Publisher,
    RetryPolicy,
    Run,
)
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Whose(BaseConsumer):
    QUEUE = "whose"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta(milliseconds=1)))

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> str:
        return tenant.get()


class PassOn(BaseConsumer):
    QUEUE = "pass-on"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self, message: Message, whose: Annotated[Publisher[Whose], Depends()]
    ) -> str:
        return (await whose.publish(Whose.Message())).id


class Many(BatchConsumer):
    QUEUE = "many"
    BATCH = Batch(size=2, linger=timedelta(seconds=20))

    class Message(BatchConsumer.Message):
        pass

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        for item in items:
            item.succeed(tenant.get())


class Held(BaseConsumer):
    QUEUE = "held"
    started: ClassVar[asyncio.Event]

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        self.started.set()
        await asyncio.Event().wait()


class Tenancy(Middleware):
    async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
        publication.headers.setdefault("tenant", tenant.get())
        await call_next()

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        tenant.set(run.headers["tenant"])  # for this run alone, without being reset
        return await call_next()


class Refusing(Middleware):
    """Refuses the runs of one tenant."""

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        if run.headers["tenant"] == "red":
            raise PermissionError("red is locked")
        return await call_next()


class Counting(Middleware):
    async def around_batch(self, batch: BatchRun, call_next: CallNext[None]) -> None:
        tenant.set(f"{len(batch.items)} tenants")
        await call_next()


class Ending(Middleware):
    def __init__(self) -> None:
        self.errors: list[type[BaseException]] = []

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        try:
            return await call_next()
        except BaseException as error:
            self.errors.append(type(error))
            raise


async def test_each_run_has_a_context_of_its_own(redis_dsn: str) -> None:
    single = ConsumerConfig(consumer_class=Whose, count=1)

    async with running_pool(redis_dsn, single, middleware=[Tenancy()]) as running:
        blue = await running.publish(Whose.Message(), headers={"tenant": "blue"})
        other = await running.publish(Whose.Message())

        assert await blue.result(PATIENCE) == "blue"
        assert await other.result(PATIENCE) == "nobody"


async def test_a_consumer_publishes_through_the_middleware_of_its_pool(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Whose, PassOn, middleware=[Tenancy()]) as running:
        job_id = await running.perform(PassOn.Message(), headers={"tenant": "blue"})

        job = running.publisher(Whose).job(job_id)
        assert await job.result(PATIENCE) == "blue"


async def test_a_batch_goes_through_the_middleware_of_its_pool(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Many, middleware=[Counting()]) as running:
        jobs = await running.publisher(Many).publish_many([Many.Message(), Many.Message()])

        assert [await job.result(PATIENCE) for job in jobs] == ["2 tenants"] * 2


async def test_an_error_of_a_middleware_is_charged_to_its_job_and_the_pool_goes_on(
    redis_dsn: str,
) -> None:
    async with running_pool(redis_dsn, Whose, middleware=[Refusing(), Tenancy()]) as running:
        refused = await running.publish(Whose.Message(), headers={"tenant": "red"})

        with pytest.raises(JobFailedError):
            await refused.result(PATIENCE)
        record = await refused.info()
        assert await running.perform(Whose.Message(), headers={"tenant": "blue"}) == "blue"

    assert record is not None
    assert (record.state, record.attempts) == (JobState.DEAD, 2)
    assert record.error == "PermissionError: red is locked (raised by the middleware Refusing)"
    assert [attempt.error for attempt in record.history] == [record.error] * 2


async def test_a_pool_that_stops_gives_the_job_back_although_a_middleware_is_around_it(
    redis_dsn: str,
) -> None:
    ending, Held.started = Ending(), asyncio.Event()

    async with running_pool(
        redis_dsn, Held, middleware=[ending], grace_period=timedelta()
    ) as running:
        job = await running.publish(Held.Message())
        await wait_until(Held.started.is_set)
        await running.pool.stop()

        record = await job.info()

    assert ending.errors == [asyncio.CancelledError]
    assert record is not None
    assert (record.state, record.attempts) == (JobState.QUEUED, 0)
