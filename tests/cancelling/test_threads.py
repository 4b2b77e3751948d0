"""A thread cannot be cancelled: it is asked, waited for, and what it does counts."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from redispatcher_fastapi import ConsumerConfig, Job, JobCancelledError, JobState
from tests.cancelling.consumers import Threaded, ThreadedTimed, go_on, notes
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until


async def is_in(job: Job[Any], state: JobState) -> bool:
    return await job.state() is state


async def test_one_that_asks_ends_its_job(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Threaded) as running:
        job = await running.publish(Threaded.Message())
        await wait_until(notes.has("started"))
        assert await job.cancel()
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)

        record = await job.info()
    assert record is not None
    assert (record.state, record.history) == (JobState.CANCELLED, ())
    assert notes.lines == ["started", "heard", "stopped: cancelled"]


async def test_one_that_does_not_is_waited_for_and_its_result_stands(redis_dsn: str) -> None:
    consumers = ConsumerConfig(consumer_class=Threaded, count=1)
    async with running_pool(redis_dsn, consumers) as running:
        job = await running.publish(Threaded.Message(is_asking=False))
        waiting = await running.publish(Threaded.Message())
        await wait_until(notes.has("started"))
        assert await job.cancel()
        await wait_until(notes.has("started", "heard"))
        states = [await job.state(), await waiting.state()]
        go_on.set()

        assert await job.result(PATIENCE) == "done all the same"
        await waiting.result(PATIENCE)

    # It kept its slot meanwhile.
    assert states == [JobState.RUNNING, JobState.QUEUED]
    assert notes.lines[:3] == ["started", "heard", "went on: True"]


async def test_a_timeout_ends_the_wait_for_it(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, ThreadedTimed) as running:
        job = await running.publish(ThreadedTimed.Message(is_asking=False))
        await wait_until(notes.has("started"))
        await job.cancel()
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)
        assert notes.lines == ["started", "heard"]  # its thread goes on all the same


async def test_it_is_asked_to_stop_after_a_timeout_too(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, ThreadedTimed) as running:
        job = await running.publish(ThreadedTimed.Message())
        await wait_until(partial(is_in, job, JobState.RETRYING))
        await wait_until(notes.has("started", "heard", "stopped: timeout"))


async def test_a_shutdown_leaves_it_to_itself_and_asks_it_to_stop(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Threaded) as running:
        job = await running.publish(Threaded.Message())
        await wait_until(notes.has("started"))
        running.pool.stop_now()
        await running.pool.stop()

        assert await job.state() is JobState.QUEUED
        await wait_until(notes.has("started", "heard", "stopped: shutdown"))


async def test_a_shutdown_does_not_wait_for_one_that_was_cancelled(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Threaded) as running:
        job = await running.publish(Threaded.Message(is_asking=False))
        await wait_until(notes.has("started"))
        assert await job.cancel()
        running.pool.stop_now()
        async with asyncio.timeout(2):
            await running.pool.stop()

        assert await job.state() is JobState.CANCELLED
