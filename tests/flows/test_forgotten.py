"""Flows of which Redis has forgotten some or all: nobody waits for what will never come."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi import (
    Flow,
    Job,
    JobCancelledError,
    JobExpiredError,
    JobState,
    RedispatcherConfig,
    chain,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from tests.flows.photos import ALL, Collect, Fetch, Part, Resize, Upload
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

PIPELINE = chain(Fetch).then(Resize).then(Upload)
#: Far longer than it takes to see that there is nothing to wait for.
SOON = timedelta(seconds=4)


async def forget(broker: Broker, *jobs: Job[object], remember: bool = False) -> None:
    """Let Redis forget finished jobs and their results; chosen ids are remembered for a day."""
    client = broker.connections.publisher_line
    for job in jobs:
        prefix = f"rd:{{{job.queue}}}:"
        await client.execute_command("HDEL", prefix + "jobs", job.id)
        await client.execute_command("DEL", f"{prefix}result:{job.id}")
        for order in ("succeeded", "cancelled"):
            await client.execute_command("LREM", prefix + order, 1, job.id)
        if remember:
            await client.execute_command("ZADD", prefix + "remembered", 9_999_999_999_999, job.id)


async def finish_chain(running: RunningPool) -> Flow[str]:
    flow = await running.publisher(Fetch).publish_chain(PIPELINE, Fetch.Message(url="abc"))
    await flow.result(PATIENCE)
    return flow


async def finish_group(running: RunningPool) -> Flow[str]:
    messages = [Part.Message(number=number) for number in (1, 2)]
    flow = await running.publisher(Part).publish_group(messages, then=Collect)
    await flow.result(PATIENCE)
    return flow


async def test_the_result_is_there_although_the_steps_before_are_forgotten(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await finish_chain(running)
        await forget(running.broker, *flow.jobs[:2])

        assert await flow.result(SOON) == "uploaded 3"
        assert await flow.state() is JobState.SUCCEEDED


@pytest.mark.parametrize("remember", [False, True])
@pytest.mark.parametrize("finish", [finish_chain, finish_group])
async def test_a_flow_that_is_forgotten_has_expired_and_cannot_be_cancelled(
    redis_dsn: str, finish: object, remember: bool
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await (finish_chain if finish is finish_chain else finish_group)(running)
        first, *others = flow.jobs
        await forget(running.broker, first)
        await forget(running.broker, *others, remember=remember)

        with pytest.raises(JobExpiredError):
            await flow.result(SOON)
        assert await flow.state() is None
        if remember:
            assert not await flow.cancel()
            assert [await job.state() for job in flow.jobs] == [None] * len(flow.jobs)


async def test_a_last_step_that_is_forgotten_before_the_others_has_expired(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow, group = await finish_chain(running), await finish_group(running)
        await forget(running.broker, flow.jobs[-1], group.jobs[-1], remember=True)

        for each in (flow, group):
            with pytest.raises(JobExpiredError):
                await each.result(SOON)
            assert await each.state() is None


async def test_a_step_that_was_cancelled_and_forgotten_ends_the_wait(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(
            PIPELINE, Fetch.Message(url="abc"), delay=timedelta(hours=1)
        )
        assert await flow.state() is JobState.SCHEDULED
        assert await flow.jobs[0].cancel()
        with pytest.raises(JobCancelledError):
            await flow.result(SOON)
        assert await flow.state() is JobState.CANCELLED
        await forget(running.broker, flow.jobs[0])

        with pytest.raises(JobExpiredError):
            await flow.result(SOON)


async def test_a_step_that_is_forgotten_but_not_passed_on_is_waited_for(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        ended = "S+" + '{"v":1,"steps":[{"queue":"upload","id":"b"}]}\n{"size":4}'
        await connections.publisher_line.execute_command("HSET", "rd:{resize}:onward", "a", ended)
        async with running_pool(redis_dsn, Upload) as running:
            uploads = running.publisher(Upload)
            resizing = Job(broker, lambda _, raw: raw, queue="resize", id="a")
            jobs = [resizing, uploads.job("b")]
            flow = Flow(
                broker,
                lambda raw: (raw or b"").decode(),
                jobs,
                id="a",
                is_group=False,
                created=True,
            )
            with pytest.raises(TimeoutError):
                await flow.result(timedelta(milliseconds=50))

            async with running_pool(redis_dsn, Resize):
                await wait_until(lambda: _is_done(uploads.job("b")))

            assert await flow.result(SOON) == '"uploaded 4"'


async def _is_done(job: Job[str]) -> bool:
    return await job.state() is JobState.SUCCEEDED
