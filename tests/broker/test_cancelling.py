"""What Redis does about a job that is cancelled while a process has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi.broker.types import (
    AttemptError,
    Cancelled,
    Delivery,
    Died,
    Limited,
    Retried,
    Snoozed,
)
from redispatcher_fastapi.job import JobState
from tests.broker.engine import QUEUE, START, Engine, Process

SECOND = timedelta(seconds=1)
ERROR = AttemptError("ValueError: no", "frames")


async def cancel(engine: Engine) -> bool:
    return await engine.broker.cancel_job(QUEUE, "a")


async def start(engine: Engine) -> tuple[Process, Delivery]:
    """Let a process run the job ``a``."""
    process = await engine.process()
    await engine.publish("a")
    return process, await process.claim_one()


async def assert_cancelled(engine: Engine, **expected: Any) -> None:
    record = await engine.record("a")
    assert record.state is JobState.CANCELLED
    assert {name: getattr(record, name) for name in expected} == expected
    assert await engine.key("cancelling") is None
    assert await engine.counts() == {JobState.CANCELLED: 1}


async def test_its_process_is_poked_and_every_claim_lists_it_until_it_ends(engine: Engine) -> None:
    process, delivery = await start(engine)
    other = await engine.process()

    assert (await process.ask(process.want(0))).cancelled == []
    assert await cancel(engine)
    poke = await engine.key(f"poke:{process.holder}")
    listed = [(await process.ask(process.want(count))).cancelled for count in (0, 1)]
    listed_to_other = (await other.ask(other.want(1))).cancelled
    verdict = await process.end(delivery, Cancelled())

    assert poke == [b"a"]
    assert listed == [[(QUEUE, "a")]] * 2
    assert listed_to_other == []
    assert (await process.ask(process.want(1))).cancelled == []
    assert verdict == "1"
    await assert_cancelled(engine, attempts=1, losses=0, error=None, reason=None, history=())


async def test_a_repeated_claim_lists_it_too(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    want = process.want(1)
    await process.ask(want)
    await cancel(engine)

    claimed = await process.ask(want)

    assert [delivery.job_id for delivery in claimed.deliveries] == ["a"]
    assert claimed.cancelled == [(QUEUE, "a")]


async def test_what_it_raised_after_it_was_cancelled_is_kept(engine: Engine) -> None:
    process, delivery = await start(engine)
    await cancel(engine)

    await process.end(delivery, Cancelled(ERROR))

    await assert_cancelled(engine, error="ValueError: no")
    (attempt,) = (await engine.record("a")).history
    assert (attempt.outcome, attempt.traceback) == ("cancelled", "frames")


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Retried(SECOND, ERROR), "ValueError: no"),
        (Snoozed(SECOND), None),
        (Limited(SECOND), None),
    ],
)
async def test_it_does_not_run_again(
    engine: Engine, outcome: Retried | Snoozed | Limited, error: str | None
) -> None:
    process, delivery = await start(engine)
    await cancel(engine)

    assert await process.end(delivery, outcome) == "c"

    await assert_cancelled(engine, attempts=1, error=error)
    assert await engine.key("scheduled") is None
    assert await engine.key("retrying") is None


async def test_it_is_not_given_back(engine: Engine) -> None:
    process, delivery = await start(engine)
    await engine.publish("b")
    other = await process.claim_one()
    await cancel(engine)

    assert await process.release(delivery, other) == "c1"

    assert await engine.state("a") is JobState.CANCELLED
    assert await engine.state("b") is JobState.QUEUED
    assert await engine.key("cancelling") is None


async def test_it_is_not_queued_again_when_its_process_is_lost(engine: Engine) -> None:
    process, _ = await start(engine)
    await engine.process()
    await cancel(engine)

    (taken,) = await engine.lose(process)

    assert (taken.job_id, taken.is_cancelled, taken.is_dead) == ("a", True, False)
    await assert_cancelled(engine, attempts=0, losses=1)
    assert [attempt.outcome for attempt in (await engine.record("a")).history] == ["lost"]


async def test_a_job_that_ends_before_it_hears_of_it_stays_what_it_is(engine: Engine) -> None:
    process, delivery = await start(engine)
    await engine.publish("b")
    other = await process.claim_one()
    for job_id in "ab":
        await engine.broker.cancel_job(QUEUE, job_id)

    assert await process.succeed(delivery, result=b"1") == "1"
    assert await process.end(other, Died("failed", ERROR)) == "1"

    assert await engine.state("a") is JobState.SUCCEEDED
    assert await engine.state("b") is JobState.DEAD
    assert await engine.key("cancelling") is None
    assert not await cancel(engine)


async def test_a_retrying_job_is_cancelled_at_once(engine: Engine) -> None:
    process, delivery = await start(engine)
    await process.retry(delivery, after=3600)
    engine.clock.move(seconds=5)

    assert await cancel(engine)

    await assert_cancelled(engine, attempts=1, error="ValueError: no", started_at=START)


async def test_a_job_that_waits_is_cancelled_without_having_started(engine: Engine) -> None:
    await engine.publish("a")
    engine.clock.move(seconds=5)

    assert await cancel(engine)

    await assert_cancelled(engine, attempts=0, started_at=None)


async def test_a_process_that_was_given_up_cannot_end_it(engine: Engine) -> None:
    process, delivery = await start(engine)
    await engine.process()
    await cancel(engine)
    await engine.lose(process)

    assert await process.end(delivery, Cancelled()) == "s"

    await assert_cancelled(engine, losses=1)
