"""Looking jobs up and moving single ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.types import AttemptError, Died
from redispatcher_fastapi.errors import (
    ConfigurationError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
)
from redispatcher_fastapi.inspector import Inspector
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.keys import InvalidNameError
from tests.broker.engine import QUEUE, Engine
from tests.waiting import wait_until

SOON = timedelta(seconds=4)


@pytest.fixture
def inspector(engine: Engine) -> Inspector:
    return Inspector(engine.broker)


async def fill(engine: Engine) -> None:
    """Put one job into every state, and a second one into the queue."""
    process = await engine.process()
    await engine.publish_many("succeeded", "dead", "retrying", "running")
    done, dead, failed, _ = await process.claim(4)
    await process.succeed(done)
    await process.end(dead, Died("rejected", AttemptError("no")))
    await process.retry(failed, after=60)
    await engine.publish("scheduled", delay=timedelta(hours=1))
    await engine.publish_many("first", "cancelled", "second")
    assert await engine.broker.cancel_job(QUEUE, "cancelled")


async def test_counts_tell_every_state(engine: Engine, inspector: Inspector) -> None:
    await fill(engine)

    assert await inspector.counts(QUEUE) == {
        state: (2 if state is JobState.QUEUED else 1) for state in JobState
    }
    assert await inspector.counts("unknown") == dict.fromkeys(JobState, 0)


@pytest.mark.parametrize("state", list(JobState))
async def test_every_state_can_be_listed(
    engine: Engine, inspector: Inspector, state: JobState
) -> None:
    await fill(engine)

    page = await inspector.jobs(QUEUE, state)

    assert await inspector.jobs(QUEUE, state.value) == page
    expected = ["first", "second"] if state is JobState.QUEUED else [state.value]
    assert [job.id for job in page.jobs] == expected
    assert {job.state for job in page.jobs} == {state}
    assert page.next_cursor is None


async def test_pages_follow_each_other(engine: Engine, inspector: Inspector) -> None:
    await engine.publish_many(*"abcde")

    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await inspector.jobs(QUEUE, JobState.QUEUED, limit=2, cursor=cursor)
        found += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == list("abcde")


async def test_finished_jobs_are_listed_newest_first(engine: Engine, inspector: Inspector) -> None:
    process = await engine.process()
    await engine.publish_many(*"abc")
    await process.succeed(*await process.claim(3))

    page = await inspector.jobs(QUEUE, JobState.SUCCEEDED, limit=2)

    assert [job.id for job in page.jobs] == ["c", "b"]


async def test_impossible_requests_are_refused(inspector: Inspector) -> None:
    with pytest.raises(ConfigurationError, match=r"'ded' is not a state.*queued, running"):
        await inspector.jobs(QUEUE, "ded")
    with pytest.raises(ConfigurationError, match="200"):
        await inspector.jobs(QUEUE, JobState.DEAD, limit=201)
    with pytest.raises(ConfigurationError, match="cursor"):
        await inspector.jobs(QUEUE, JobState.DEAD, cursor="-1")
    with pytest.raises(InvalidNameError):
        await inspector.counts("no{braces}")
    with pytest.raises(InvalidNameError):
        await inspector.job(QUEUE, "line\nbreak")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING])
async def test_a_waiting_job_can_be_cancelled_once(engine: Engine, state: JobState) -> None:
    process = await engine.process()
    delay = timedelta(minutes=1) if state is JobState.SCHEDULED else None
    await engine.publish("a", delay=delay)
    if state is JobState.RETRYING:
        await process.retry(await process.claim_one(), after=60)
    before = await engine.state("a")

    answers = [await engine.broker.cancel_job(QUEUE, "a") for _ in range(2)]

    assert before is state
    assert answers == [True, False]
    assert await engine.state("a") is JobState.CANCELLED
    engine.clock.move(hours=1)
    assert await process.claim(5) == []
    assert await engine.key("ghosts") is None


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_a_cancelled_job_keeps_the_number_of_its_attempts(
    engine: Engine, failures: int
) -> None:
    process = await engine.process()
    await engine.publish("a")
    for _ in range(failures):
        await process.retry(await process.claim_one(), after=0)
    await engine.broker.cancel_job(QUEUE, "a")

    record = await engine.record("a")

    assert (record.state, record.attempts) == (JobState.CANCELLED, failures)


async def test_a_running_job_is_to_be_cancelled_and_a_finished_one_is_not(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    running = await engine.broker.cancel_job(QUEUE, "a")
    await process.succeed(delivery)

    assert (running, await engine.broker.cancel_job(QUEUE, "a")) == (True, False)
    assert await engine.broker.cancel_job(QUEUE, "unknown") is False
    assert await engine.state("a") is JobState.SUCCEEDED


async def test_an_id_used_again_after_a_cancelled_job_was_deleted_runs_once(
    engine: Engine, inspector: Inspector
) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    await engine.broker.cancel_job(QUEUE, "a")
    assert await inspector.delete(QUEUE, "a")

    assert await engine.publish("a", delay=timedelta(minutes=1))

    assert [delivery.job_id for delivery in await process.claim(5)] == ["b"]
    engine.clock.move(minutes=1)
    assert [delivery.job_id for delivery in await process.claim(5)] == ["a"]


async def test_a_dead_job_can_be_redriven_with_its_counts_reset(
    engine: Engine, inspector: Inspector
) -> None:
    process = await engine.process()
    await engine.publish("a", is_chosen_id=True)
    await process.retry(await process.claim_one())
    engine.clock.move(seconds=1)
    await process.end(await process.claim_one(), Died("failed", AttemptError("no")))

    answers = [await inspector.redrive(QUEUE, "a") for _ in range(2)]

    assert answers == [True, False]
    delivery = await process.claim_one()
    assert (delivery.job_id, delivery.attempt) == ("a", 1)
    assert len((await engine.record("a")).history) == 2


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.RUNNING])
async def test_a_job_that_is_not_running_can_be_deleted(
    engine: Engine, inspector: Inspector, state: JobState
) -> None:
    await fill(engine)
    job_id = "first" if state is JobState.QUEUED else state.value

    before = await inspector.counts(QUEUE)

    assert await inspector.delete(QUEUE, job_id)

    assert await inspector.job(QUEUE, job_id) is None
    assert await inspector.counts(QUEUE) == {**before, state: before[state] - 1}
    assert await inspector.delete(QUEUE, job_id) is False


async def test_a_running_job_is_not_deleted(engine: Engine, inspector: Inspector) -> None:
    await fill(engine)

    assert await inspector.delete(QUEUE, "running") is False
    assert await engine.state("running") is JobState.RUNNING


async def test_waiting_for_a_result_ends_with_the_job(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            engine.broker.wait_for_result(QUEUE, "a", timedelta(seconds=30))
        )

        async def is_watched() -> bool:
            return await engine.key("watched") is not None

        await wait_until(is_watched)
        await process.succeed(delivery, result=b"42")

    assert waiting.result() == b"42"


async def test_an_id_used_again_waits_for_its_own_result(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a", is_chosen_id=True)
    await process.succeed(await process.claim_one(), result=b"1")
    engine.clock.move(hours=1, minutes=30)
    await engine.upkeep()
    engine.clock.move(days=2)
    await engine.upkeep()
    kept = await engine.broker.wait_for_result(QUEUE, "a", SOON)

    assert await engine.publish("a", is_chosen_id=True)
    with pytest.raises(TimeoutError):
        await engine.broker.wait_for_result(QUEUE, "a", timedelta(milliseconds=1))
    await process.renew()
    await process.succeed(await process.claim_one())

    assert kept == b"1"
    assert await engine.broker.wait_for_result(QUEUE, "a", SOON) is None


async def test_waiting_for_the_result_of_a_dead_job_raises_its_reason(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.end(await process.claim_one(), Died("rejected", AttemptError("bad account")))

    with pytest.raises(JobFailedError, match=r"dead \(rejected\): bad account") as caught:
        await engine.broker.wait_for_result(QUEUE, "a", None)

    assert (caught.value.reason, caught.value.error) == ("rejected", "bad account")


async def test_waiting_for_the_result_of_a_cancelled_job_says_so(engine: Engine) -> None:
    await engine.publish("a")
    await engine.broker.cancel_job(QUEUE, "a")

    with pytest.raises(JobCancelledError, match="a in queue 'letters' was cancelled"):
        await engine.broker.wait_for_result(QUEUE, "a", None)


async def test_waiting_too_long_is_a_timeout_and_leaves_the_job(engine: Engine) -> None:
    await engine.publish("a")

    with pytest.raises(TimeoutError, match="did not finish within"):
        await engine.broker.wait_for_result(QUEUE, "a", timedelta(milliseconds=30))

    assert await engine.state("a") is JobState.QUEUED


async def test_a_success_without_a_result_is_told_from_one_that_expired(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("without", "expired")
    without, expired = await process.claim(2)
    await process.succeed(without)
    await process.succeed(expired, result=b"1")
    await engine.redis.delete(f"rd:{{{QUEUE}}}:result:expired")

    assert await engine.broker.wait_for_result(QUEUE, "without", None) is None
    with pytest.raises(JobExpiredError):
        await engine.broker.wait_for_result(QUEUE, "expired", None)
    with pytest.raises(JobExpiredError):
        await engine.broker.wait_for_result(QUEUE, "never published", None)
