"""A job that runs is cancelled within a second of the call, and cleans up."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from redispatcher_fastapi import (
    ConsumerConfig,
    Job,
    JobCancelledError,
    JobContext,
    JobRecord,
    JobState,
)
from redispatcher_fastapi.hooks import Cancelled, Retried
from tests.cancelling.consumers import Long, Timed, notes
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until


async def read(job: Job[Any]) -> JobRecord:
    record = await job.info()
    assert record is not None
    return record


async def is_retrying(job: Job[Any]) -> bool:
    return await job.state() is JobState.RETRYING


async def cancel_within_a_second(job: Job[Any]) -> None:
    asked = time.monotonic()
    assert await job.cancel()
    with pytest.raises(JobCancelledError):
        await job.result(PATIENCE)
    assert time.monotonic() - asked < 1


async def test_the_handler_is_cancelled_and_cleans_up(redis_dsn: str, leak_check: None) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, Long, hooks=hooks) as running:
        job = await running.publish(Long.Message())
        await wait_until(notes.has("job started"))

        await cancel_within_a_second(job)

        record = await read(job)
        assert not await job.cancel()

    assert notes.lines == [
        "job started",
        "job: cancelled",
        "session: CancelledError",
        "session closed",
    ]
    assert (record.state, record.reason, record.attempts) == (JobState.CANCELLED, None, 1)
    assert record.history == ()
    assert hooks.ended == [(job.id, Cancelled())]


async def test_a_pool_without_a_free_slot_hears_of_it(redis_dsn: str) -> None:
    consumers = ConsumerConfig(consumer_class=Long, count=2)
    async with running_pool(redis_dsn, consumers) as running:
        jobs = [await running.publish(Long.Message(name=name)) for name in "ab"]
        await wait_until(lambda: len(notes.lines) == 2)
        for job in jobs:
            await cancel_within_a_second(job)


async def test_its_slot_is_free_for_the_next_job(redis_dsn: str) -> None:
    consumers = ConsumerConfig(consumer_class=Long, count=1)
    async with running_pool(redis_dsn, consumers) as running:
        first, second = [await running.publish(Long.Message(name=name)) for name in "ab"]
        await wait_until(notes.has("a started"))
        await cancel_within_a_second(first)
        await wait_until(lambda: notes.lines[-1] == "b started")
        await cancel_within_a_second(second)


async def test_what_it_returns_all_the_same_stands(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long) as running:
        job = await running.publish(Long.Message(way="return"))
        await wait_until(notes.has("job started"))
        assert await job.cancel()

        assert await job.result(PATIENCE) == "done all the same"

        assert not await job.cancel()
        assert await job.state() is JobState.SUCCEEDED


async def test_what_it_raises_instead_is_kept_and_it_is_cancelled(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long) as running:
        job = await running.publish(Long.Message(way="fail"))
        await wait_until(notes.has("job started"))
        await cancel_within_a_second(job)
        record = await read(job)

    (attempt,) = record.history
    assert record.state is JobState.CANCELLED
    assert record.error == attempt.error == "ValueError: it broke while it was cleaning up"
    assert attempt.outcome == "cancelled"


async def test_a_handlers_own_cancellation_is_an_error_like_any_other(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long) as running:
        job = await running.publish(Long.Message(way="own"))
        await wait_until(partial(is_retrying, job))
        assert (await read(job)).error == "CancelledError"


async def test_a_timeout_is_told_apart(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Timed) as running:
        job = await running.publish(Timed.Message())
        await wait_until(partial(is_retrying, job))

    assert notes.lines[:2] == ["job started", "job: timeout"]


async def test_after_a_timeout_a_call_ends_it_at_once(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Timed) as running:
        job = await running.publish(Timed.Message(ignored=1))
        await wait_until(notes.has("job started", "job: timeout"))
        await cancel_within_a_second(job)

    assert notes.lines[2] == "job: cancelled"


async def test_a_shutdown_is_told_apart_and_the_job_runs_again(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long) as running:
        job = await running.publish(Long.Message())
        await wait_until(notes.has("job started"))
        running.pool.stop_now()
        await running.pool.stop()

        assert await job.state() is JobState.QUEUED

    assert notes.lines[1] == "job: shutdown"


async def test_it_is_heard_of_while_the_pool_waits_for_the_last_jobs(redis_dsn: str) -> None:
    hooks = RecordingHooks()
    consumers = ConsumerConfig(consumer_class=Long, count=1)
    async with running_pool(redis_dsn, consumers, hooks=hooks) as running:
        job = await running.publish(Long.Message())
        waiting = await running.publish(Long.Message(name="waiting"))
        await wait_until(notes.has("job started"))
        running.pool.quiet()

        await cancel_within_a_second(job)

        await running.pool.stop()
        assert await waiting.state() is JobState.QUEUED
    assert hooks.ended == [(job.id, Cancelled())]


async def test_one_that_goes_on_is_cancelled_when_the_pool_gives_it_back(redis_dsn: str) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, Long, hooks=hooks) as running:
        job = await running.publish(Long.Message(ignored=1))
        await wait_until(notes.has("job started"))
        assert await job.cancel()
        await wait_until(notes.has("job started", "job: cancelled"))
        running.pool.stop_now()
        await running.pool.stop()

        assert await job.state() is JobState.CANCELLED
    # The shutdown cancelled it once more.
    assert notes.lines[2] == "job: cancelled"


async def test_a_further_call_cancels_it_again(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long) as running:
        job = await running.publish(Long.Message(ignored=2))
        await wait_until(notes.has("job started"))
        for call in (1, 2):
            assert await job.cancel()
            await wait_until(notes.has("job started", *["job: cancelled"] * call))
            assert await job.state() is JobState.RUNNING
        await cancel_within_a_second(job)


async def test_a_single_call_cancels_it_once_however_often_the_pool_claims(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Long, Timed) as running:
        job = await running.publish(Long.Message(ignored=1))
        await wait_until(notes.has("job started"))
        assert await job.cancel()
        await wait_until(notes.has("job started", "job: cancelled"))
        for _ in range(20):
            other = await running.publish(Timed.Message(name="other", way="own"))
            await wait_until(partial(is_retrying, other))

        assert notes.lines.count("job: cancelled") == 1
        await cancel_within_a_second(job)


class CalledOff(Long):
    """Fails before it can hear that it was cancelled."""

    QUEUE = "called-off"
    running: RunningPool

    class Message(Long.Message):
        pass

    async def around(self, run: Any, context: JobContext) -> Any:
        await self.running.broker.cancel_job(context.queue, context.id)
        raise ValueError("no more of this")


async def test_a_job_that_was_to_run_again_is_cancelled_instead(redis_dsn: str) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, CalledOff, hooks=hooks) as running:
        CalledOff.running = running
        job = await running.publish(CalledOff.Message())
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)
        record = await read(job)

    assert record.error == "ValueError: no more of this"
    assert [(job_id, type(outcome)) for job_id, outcome in hooks.called_off] == [(job.id, Retried)]


async def test_many_at_once_are_all_cancelled(redis_dsn: str, leak_check: None) -> None:
    consumers = ConsumerConfig(consumer_class=Long, count=100)
    async with running_pool(redis_dsn, consumers) as running:
        jobs = await running.publisher(Long).publish_many([Long.Message()] * 100)
        await wait_until(lambda: running.pool.running == 100)

        assert all(await asyncio.gather(*(job.cancel() for job in jobs)))

        async def are_cancelled() -> bool:
            return (await running.broker.count_jobs("long"))[JobState.CANCELLED] == 100

        await wait_until(are_cancelled)
