"""A job that was not started in time is not started at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.scripts import PAUSE
from redispatcher_fastapi.errors import JobCancelledError
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.keys import queue_prefix
from redispatcher_fastapi.queues import WaitingReason
from tests.broker.engine import QUEUE, START, Engine

SECOND = timedelta(seconds=1)


async def expired(engine: Engine, job_id: str) -> bool:
    record = await engine.record(job_id)
    ending = (record.state, record.reason, record.started_at)
    return ending == (JobState.CANCELLED, "expired", None)


@pytest.mark.parametrize("expiry", [10 * SECOND, START + 10 * SECOND])
async def test_a_job_starts_until_it_expires_and_no_longer(
    engine: Engine, expiry: timedelta
) -> None:
    process = await engine.process()
    for job_id in ("a", "b"):
        await engine.submit(job_id, expiry=expiry)
    assert (await engine.record("a")).expires_at == START + 10 * SECOND

    engine.clock.move(seconds=9.999)
    assert (await process.claim_one()).job_id == "a"
    engine.clock.move(seconds=0.001)
    assert await process.claim() == []

    assert (await engine.record("a")).state is JobState.RUNNING
    assert await expired(engine, "b")
    assert (await engine.record("b")).attempts == 0


async def test_only_the_first_start_counts(engine: Engine) -> None:
    process = await engine.process()
    await engine.submit("a", expiry=10 * SECOND)
    delivery = await process.claim_one()
    assert (await engine.record("a")).expires_at is None

    await process.retry(delivery, after=15)
    engine.clock.move(seconds=15)

    assert (await process.claim_one()).job_id == "a"


@pytest.mark.parametrize("partition", ["", "tenant"])
async def test_a_job_in_line_behind_others_expires(engine: Engine, partition: str) -> None:
    process = await engine.process()
    await engine.submit("first", partition=partition)
    await engine.submit("a", expiry=SECOND, partition=partition)
    await engine.submit("last", partition=partition)
    assert (await process.claim_one()).job_id == "first"
    engine.clock.move(seconds=1)

    assert [delivery.job_id for delivery in await process.claim(5)] == ["last"]
    assert await expired(engine, "a")


async def test_a_job_expires_while_nothing_is_claimed(engine: Engine) -> None:
    await engine.submit("queued", expiry=SECOND)
    await engine.submit("scheduled", expiry=SECOND, delay=60)
    await engine.submit("in-time", expiry=60 * SECOND)
    engine.clock.move(seconds=1)

    await engine.keep_up()

    assert await expired(engine, "queued")
    assert await expired(engine, "scheduled")
    assert await engine.counts() == {JobState.QUEUED: 1, JobState.CANCELLED: 2}
    process = await engine.process()
    assert [delivery.job_id for delivery in await process.claim(5)] == ["in-time"]
    assert await engine.key("ghosts") is None
    assert await engine.key("expiries") is None


async def test_why_it_does_not_run_is_told(engine: Engine) -> None:
    await engine.submit("a", expiry=SECOND)
    await engine.publish("b")
    engine.clock.move(seconds=1)
    await engine.keep_up()
    await engine.broker.cancel_job(QUEUE, "b")

    reasons = [await engine.broker.why(QUEUE, job_id, "") for job_id in ("a", "b")]

    assert [(each.reason, each.detail) for each in reasons if each] == [
        (WaitingReason.FINISHED, "expired"),
        (WaitingReason.FINISHED, "cancelled"),
    ]
    assert str(reasons[0]) == "Job a in queue 'letters' is finished (expired)."


async def test_a_job_expires_behind_a_pause(engine: Engine) -> None:
    process = await engine.process()
    await engine.submit("a", expiry=SECOND)
    now = int(START.timestamp() * 1000)
    await PAUSE.run(engine.redis, [queue_prefix(QUEUE)], [now, "d60000", "full"])
    engine.clock.move(seconds=2)

    assert await process.claim() == []
    await engine.keep_up()

    assert await expired(engine, "a")


async def test_who_waits_for_the_result_is_told(engine: Engine) -> None:
    process = await engine.process()
    await engine.submit("a", expiry=SECOND)
    engine.clock.move(seconds=1)
    await process.claim()

    with pytest.raises(JobCancelledError, match="Job a in queue 'letters' has expired"):
        await engine.broker.wait_for_result(QUEUE, "a", SECOND)


async def test_many_jobs_that_have_expired_keep_no_other_waiting_for_long(engine: Engine) -> None:
    process = await engine.process()
    many = [engine.submission(f"e{number}", expiry=SECOND) for number in range(1000)]
    await engine.sender.send_many(QUEUE, many)
    await engine.publish("a")
    engine.clock.move(seconds=1)

    claims = 0
    while not (await process.claim(10)):
        claims += 1
        assert claims <= 10
        assert await engine.key("wake") == [b"1"]  # or nobody would claim again at once


async def test_a_job_that_ends_otherwise_expires_no_more(engine: Engine) -> None:
    await engine.submit("a", expiry=SECOND)
    await engine.submit("b", expiry=SECOND)

    await engine.broker.cancel_job(QUEUE, "a")
    await engine.broker.delete_job(QUEUE, "b")

    assert await engine.key("expiries") is None
    assert (await engine.record("a")).reason is None


async def test_expired_jobs_are_forgotten_like_others(engine: Engine) -> None:
    await engine.submit("a", expiry=SECOND)
    engine.clock.move(seconds=1)
    await engine.keep_up()

    engine.clock.move(seconds=3601)
    await engine.keep_up()

    assert await engine.state("a") is None
