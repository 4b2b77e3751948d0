"""What a test can cancel while the tester runs it, or what it tests does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    Job,
    JobCancelledError,
    JobContext,
    JobState,
    Redispatcher,
    RedispatcherConfig,
    Retry,
)
from redispatcher_fastapi.testing import FailedRunsError, RedispatcherTester
from tests.testing.shop import NOWHERE
from tests.waiting import wait_until

reasons: list[str | None] = []


class Long(BaseConsumer):
    QUEUE = "long"

    class Message(BaseConsumer.Message):
        fails: bool = False

    async def process_message(self, message: Message, context: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            reasons.append(context.stop_reason)
            if message.fails:
                raise ValueError("it broke while it was cleaning up")


class Threaded(BaseConsumer):
    QUEUE = "threaded"

    class Message(BaseConsumer.Message):
        pass

    def process_message(self, message: Message, context: JobContext) -> None:
        while not context.cancellation.is_requested:
            pass
        context.cancellation.raise_if_requested()


class Letters(BatchConsumer):
    QUEUE = "letters"
    BATCH = Batch(size=2)

    class Message(BatchConsumer.Message):
        pass

    async def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
        await wait_until(lambda: any(item.context.cancellation.is_requested for item in items))
        for item in items:
            item.succeed("sent") if not item.context.cancellation.is_requested else item.retry()


class CalledOff(BaseConsumer):
    """Is cancelled while it runs, and does not wait to be told."""

    QUEUE = "called-off"
    job: Job[None]

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await self.job.cancel()
        raise Retry(timedelta(hours=1))


def make_dispatcher() -> Redispatcher:
    consumers = [Long, Threaded, Letters, CalledOff]
    return Redispatcher(RedispatcherConfig(redis_dsn=NOWHERE, consumers=consumers))


@pytest.fixture
def tester() -> Iterator[RedispatcherTester]:
    reasons.clear()
    with RedispatcherTester(make_dispatcher()) as tester:
        yield tester


async def is_running(job: Job[Any]) -> bool:
    return await job.state() is JobState.RUNNING


@pytest.mark.parametrize("consumer", [Long, Threaded])
async def test_a_job_that_runs_is_cancelled(tester: RedispatcherTester, consumer: Any) -> None:
    job: Job[None] = await consumer.publish(consumer.Message(), tester.redis_client)
    running = asyncio.create_task(tester.run_until_idle())
    await wait_until(partial(is_running, job))

    assert await job.cancel()

    (run,) = (await running).runs
    assert (run.outcome, run.error) == ("cancelled", None)
    assert await job.state() is JobState.CANCELLED
    assert reasons == (["cancelled"] if consumer is Long else [])
    with pytest.raises(JobCancelledError):
        await job.result()


async def test_an_error_while_it_cleans_up_is_reported(tester: RedispatcherTester) -> None:
    job = await Long.publish(Long.Message(fails=True), tester.redis_client)
    running = asyncio.create_task(tester.run_until_idle())
    await wait_until(partial(is_running, job))
    await job.cancel()

    with pytest.raises(FailedRunsError, match="it broke while it was cleaning up"):
        await running


async def test_one_of_a_batch_is_cancelled(tester: RedispatcherTester) -> None:
    first, second = [
        await Letters.publish(Letters.Message(), tester.redis_client) for _ in range(2)
    ]
    running = asyncio.create_task(tester.run_until_idle())
    await wait_until(partial(is_running, second))

    assert await second.cancel()

    assert [run.outcome for run in (await running).runs] == ["succeeded", "cancelled"]
    assert await first.result() == "sent"


async def test_what_was_to_run_again_is_cancelled(tester: RedispatcherTester) -> None:
    job = CalledOff.job = await CalledOff.publish(CalledOff.Message(), tester.redis_client)

    (run,) = (await tester.run_until_idle()).runs

    assert run.outcome == "cancelled"
    assert await job.state() is JobState.CANCELLED


async def test_whoever_cancels_the_test_cancels_its_job_and_gives_it_back(
    tester: RedispatcherTester,
) -> None:
    job = await Long.publish(Long.Message(), tester.redis_client)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await tester.run_until_idle()

    assert await job.state() is JobState.QUEUED
    assert reasons == [None]


def test_an_application_cancels_what_waits() -> None:
    dispatcher = make_dispatcher()
    app = FastAPI()
    app.include_router(dispatcher.router)

    @app.post("/jobs")
    async def publish() -> str:
        return (await dispatcher.publisher(Long).publish(Long.Message())).id

    @app.delete("/jobs/{job_id}")
    async def cancel(job_id: str) -> bool:
        return await dispatcher.inspector.cancel(Long, job_id)

    with RedispatcherTester(dispatcher, app) as tester, TestClient(app) as client:
        job_id = client.post("/jobs").json()
        answers = [client.delete(f"/jobs/{job_id}").json() for _ in range(2)]

        assert answers == [True, False]
        assert tester.run_until_idle_blocking().runs == ()
