"""Chains: what one consumer returns is the message of the next."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    InvalidNameError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Priority,
    Sealing,
    SigningKeys,
    Unique,
    chain,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.sealing import AesGcmCipher
from tests.flows.photos import ALL, Collect, Fetch, Part, Resize, Upload
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

PIPELINE = chain(Fetch).then(Resize).then(Upload)


async def test_each_step_takes_what_the_one_before_returned(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="cat.png"))

        assert await flow.result(PATIENCE) == "uploaded 7"
        assert [job.queue for job in flow.jobs] == ["fetch", "resize", "upload"]
        assert [await job.state() for job in flow.jobs] == [JobState.SUCCEEDED] * 3
        assert await flow.state() is JobState.SUCCEEDED


async def test_a_step_that_is_retried_goes_on_once(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="flaky"))

        assert await flow.result(PATIENCE) == "uploaded 5"
        counts = await running.broker.count_jobs("upload")
        assert sum(counts.values()) == 1


async def test_a_dead_step_ends_the_chain(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="missing"))

        with pytest.raises(JobFailedError, match="404"):
            await flow.result(PATIENCE)
        assert await flow.state() is JobState.DEAD
        assert await flow.jobs[1].state() is None


async def test_a_dead_step_that_is_redriven_goes_on(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Resize).publish_chain(
            chain(Resize).then(Upload), Resize.Message(path="x" * 13)
        )
        with pytest.raises(JobFailedError, match="unlucky"):
            await flow.result(PATIENCE)
        again = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize), Fetch.Message(url="missing")
        )
        with pytest.raises(JobFailedError):
            await again.result(PATIENCE)

        record = await again.jobs[0].info()
        assert record is not None
        assert await running.broker.redrive_job("fetch", again.jobs[0].id)

        await wait_until(lambda: _is_dead_twice(again.jobs[0]))


async def _is_dead_twice(job: Job[Any]) -> bool:
    record = await job.info()
    return record is not None and len(record.history) == 2


async def test_cancelling_ends_what_runs_and_forestalls_what_is_to_come(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="slow"))
        await wait_until(lambda: running.pool.running == 1)

        assert await flow.cancel()

        with pytest.raises(JobCancelledError):
            await flow.result(PATIENCE)
        await wait_until(lambda: running.pool.running == 0)
        assert [await job.state() for job in flow.jobs] == [JobState.CANCELLED] * 3
        assert not await flow.cancel()


async def test_a_step_that_was_forestalled_is_not_published_by_one_that_succeeds(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        step = chain(Fetch).then(Resize, delay=timedelta(milliseconds=50))
        flow = await running.publisher(Fetch).publish_chain(
            step, Fetch.Message(url="a"), delay=timedelta(milliseconds=100)
        )
        assert await running.broker.forestall_job("resize", flow.jobs[1].id)

        await flow.jobs[0].result(PATIENCE)
        with pytest.raises(JobCancelledError):
            await flow.result(PATIENCE)
        await wait_until(lambda: _is_passed_on(running.broker, "fetch"))
        assert await flow.jobs[1].state() is JobState.CANCELLED


async def _is_passed_on(broker: Broker, queue: str) -> bool:
    client = broker.connections.publisher_line
    return not await client.execute_command("EXISTS", f"rd:{{{queue}}}:onward")


async def test_an_id_starts_a_chain_once(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        publisher = running.publisher(Fetch)
        first = await publisher.publish_chain(PIPELINE, Fetch.Message(url="a"), id="import-1")
        await first.result(PATIENCE)
        again = await publisher.publish_chain(PIPELINE, Fetch.Message(url="bb"), id="import-1")

        assert (first.created, again.created) == (True, False)
        assert await again.result(PATIENCE) == "uploaded 1"
        assert [job.id for job in again.jobs] == ["import-1", "import-1.2", "import-1.3"]


async def test_headers_and_options_go_along(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        steps = chain(Fetch).then(Resize, priority=Priority.HIGH).then(Upload)
        flow = await running.publisher(Fetch).publish_chain(
            steps, Fetch.Message(url="tenant"), headers={"tenant": "abc"}
        )

        assert await flow.result(PATIENCE) == "uploaded 3"


async def test_sealed_steps_are_sealed_for_each_job_anew(redis_dsn: str, leak_check: None) -> None:
    sealing = Sealing(
        signing=SigningKeys({"one": SecretStr("k" * 40)}),
        encryption=AesGcmCipher({"a": SecretStr("A" * 43)}),
    )
    async with running_pool(redis_dsn, *ALL, sealing=sealing) as running:
        flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="cat.png"))

        assert await flow.result(PATIENCE) == "uploaded 7"
        group = await running.publisher(Part).publish_group(
            [Part.Message(number=number) for number in (1, -1)], then=Collect
        )
        assert await group.result(PATIENCE) == "[2, None] [(1, 'failed')]"


async def test_what_does_not_fit_is_refused_when_the_chain_is_made() -> None:
    class Lonely(BaseConsumer):
        QUEUE = "lonely"
        UNIQUE = Unique()

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> Message:
            return message

    with pytest.raises(ConfigurationError, match="Upload cannot follow Fetch"):
        chain(Fetch).then(Upload)  # type: ignore[arg-type]  # pyright: ignore  # what the types refuse
    with pytest.raises(ConfigurationError, match="UNIQUE"):
        chain(Lonely)
    with pytest.raises(ConfigurationError, match="delay"):
        chain(Fetch).then(Resize, delay=timedelta(seconds=-1))
    with pytest.raises(ConfigurationError, match="expire before"):
        chain(Fetch).then(Resize, delay=timedelta(2), expires=timedelta(1))


async def test_a_chain_of_another_consumer_is_refused(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        publisher = running.publisher(Resize)
        with pytest.raises(ConfigurationError, match="begins with Fetch"):
            await publisher.publish_chain(PIPELINE, Resize.Message(path="a"))  # type: ignore[arg-type]  # pyright: ignore
        with pytest.raises(InvalidNameError):
            await running.publisher(Fetch).publish_chain(
                PIPELINE, Fetch.Message(url="a"), id="x" * 127
            )
