"""Settling: once, fenced, repeatable; and what is kept afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.types import (
    AttemptError,
    Died,
    EngineSettings,
    Retried,
    Snoozed,
    Succeeded,
)
from redispatcher_fastapi.job import JobState
from tests.broker.engine import BODY, QUEUE, START, Engine


@pytest.fixture
def engine_settings() -> EngineSettings:
    return EngineSettings(finished_max_count=3, dead_max_count=2, dead_max_age=timedelta(days=2))


async def test_a_success_is_recorded_with_its_times(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    engine.clock.move(seconds=4)
    delivery = await process.claim_one()
    engine.clock.move(milliseconds=250)
    delivery.ran_for = 0.25

    assert await process.succeed(delivery) == "1"

    record = await engine.record("a")
    assert record.state is JobState.SUCCEEDED
    assert record.published_at == START
    assert record.started_at == START + timedelta(seconds=4)
    assert record.finished_at == START + timedelta(seconds=4, milliseconds=250)
    assert (record.attempts, record.losses, record.body) == (1, 0, None)


async def test_an_acknowledgement_repeated_after_a_lost_reply_gets_the_same_answer(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    deliveries = await process.claim(2)
    ended = [(delivery, Succeeded()) for delivery in deliveries]
    request = process.broker.next_request()

    answers = [
        await process.broker.acknowledge(QUEUE, process.holder, request, ended) for _ in range(3)
    ]

    assert answers == ["11", "11", "11"]
    assert (await engine.key("stats"))[b"succeeded"] == b"2"


async def test_a_failure_repeated_after_a_lost_reply_is_charged_once(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    outcome = Retried(timedelta(seconds=1), AttemptError("ValueError: no"))
    request = process.broker.next_request()

    for _ in range(3):
        answer = await process.broker.fail(QUEUE, process.holder, request, [(delivery, outcome)])
        assert answer == "1"

    assert (await engine.record("a")).attempts == 1
    assert len((await engine.record("a")).history) == 1


async def test_a_result_is_kept_for_its_time(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.succeed(await process.claim_one(), result=b'{"answer":42}')

    result = await engine.broker.wait_for_result(QUEUE, "a", timedelta(seconds=5))

    assert result == b'{"answer":42}'
    assert 3500 < await engine.redis.ttl(f"rd:{{{QUEUE}}}:result:a") <= 3600


@pytest.mark.parametrize("is_refused_first", [True, False])
async def test_a_refused_run_does_not_take_the_result_of_the_accepted_one_along(
    engine: Engine, is_refused_first: bool
) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    refused = replace(delivery, token="9,9")
    ended = [(refused, Succeeded(b"2")), (delivery, Succeeded(b"1"))]
    if not is_refused_first:
        ended.reverse()

    answer = await process.broker.acknowledge(QUEUE, process.holder, 1, ended)

    assert answer == ("s1" if is_refused_first else "1s")
    assert await engine.broker.wait_for_result(QUEUE, "a", timedelta(seconds=5)) == b"1"


async def test_a_retried_job_waits_and_counts_its_attempts(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.retry(await process.claim_one(), after=60)
    waiting = await engine.record("a")
    engine.clock.move(seconds=60)
    delivery = await process.claim_one()

    assert waiting.state is JobState.RETRYING
    assert waiting.due_at == START + timedelta(seconds=60)
    assert (waiting.attempts, waiting.error) == (1, "ValueError: no")
    assert delivery.attempt == 2


async def test_the_history_keeps_error_times_and_traceback(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    engine.clock.move(seconds=3)
    await process.retry(delivery)

    (attempt,) = (await engine.record("a")).history

    assert (attempt.outcome, attempt.error, attempt.traceback) == (
        "failed",
        "ValueError: no",
        "frames",
    )
    assert attempt.finished_at - attempt.started_at == timedelta(seconds=3)


async def test_the_history_is_bounded(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    for _ in range(25):
        await process.retry(await process.claim_one())
        engine.clock.move(seconds=1)

    record = await engine.record("a")

    assert record.attempts == 25
    assert len(record.history) == 20


async def test_a_snoozed_job_is_not_charged(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.end(await process.claim_one(), Snoozed(timedelta(minutes=1)))
    waiting = await engine.record("a")
    engine.clock.move(minutes=1)

    assert (waiting.state, waiting.attempts) == (JobState.SCHEDULED, 0)
    assert (await process.claim_one()).attempt == 1


async def test_a_dead_job_keeps_body_reason_and_history(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.retry(await process.claim_one())
    engine.clock.move(seconds=1)
    await process.end(await process.claim_one(), Died("failed", AttemptError("ValueError: never")))

    record = await engine.record("a")

    assert (record.state, record.reason) == (JobState.DEAD, "failed")
    assert (record.body, record.attempts) == (BODY, 2)
    assert [attempt.error for attempt in record.history] == ["ValueError: no", "ValueError: never"]


async def test_a_success_after_failures_tells_its_attempts(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.retry(await process.claim_one())
    engine.clock.move(seconds=1)
    await process.succeed(await process.claim_one())

    record = await engine.record("a")

    assert (record.state, record.attempts, len(record.history)) == (JobState.SUCCEEDED, 2, 1)


async def test_giving_back_is_repeated_after_a_lost_reply_with_the_same_answer(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    deliveries = await process.claim(2)
    await engine.redis.hdel(f"rd:{{{QUEUE}}}:jobs", "b")
    await engine.redis.hdel(f"rd:{{{QUEUE}}}:held:{process.holder}", "b")
    request = process.broker.next_request()

    answers = [
        await process.broker.release(QUEUE, process.holder, request, deliveries) for _ in range(2)
    ]

    assert answers == ["1g", "1g"]
    assert await engine.key("ready") == [b"a"]


async def test_jobs_given_back_are_first_in_line_and_not_charged(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abcd")
    deliveries = await process.claim(3)

    assert await process.release(*deliveries) == "111"
    assert await process.release(*deliveries) == "sss"

    again = await process.claim(4)
    assert [delivery.job_id for delivery in again] == list("abcd")
    assert {delivery.attempt for delivery in again} == {1}


async def test_settling_a_job_that_redis_lost_is_answered_as_gone(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    one, other = await process.claim(2)
    await engine.redis.flushall()

    assert await process.succeed(one) == "g"
    assert await process.retry(other) == "g"


async def test_only_the_newest_finished_jobs_are_kept(engine: Engine) -> None:
    process = await engine.process()
    for index in range(8):
        await engine.publish(f"job-{index}")
        engine.clock.move(seconds=6)
        await process.renew()
        await process.succeed(await process.claim_one())

    # No repeated publish can come after twice the publish timeout, 10 s: until then they are kept.
    kept = [index for index in range(8) if await engine.state(f"job-{index}") is not None]

    assert kept == [5, 6, 7]
    assert len(await engine.key("jobs")) == len(await engine.key("succeeded")) == 3


async def test_a_finished_job_outlives_any_repeated_publish(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abcdefgh")
    await process.succeed(*await process.claim(8))
    engine.clock.move(seconds=10)
    await engine.upkeep()
    at_twice_the_timeout = len(await engine.key("jobs"))
    engine.clock.move(seconds=1)
    await engine.upkeep()

    assert (at_twice_the_timeout, len(await engine.key("jobs"))) == (8, 3)


async def test_finished_jobs_are_forgotten_after_an_hour(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b", "c")
    await process.succeed(*await process.claim(2))
    assert await engine.broker.cancel_job(QUEUE, "c")
    await process.claim(1)

    engine.clock.move(hours=1, seconds=1)
    await engine.upkeep()

    assert await engine.key("jobs") is None
    assert await engine.key("succeeded") is None
    assert await engine.key("cancelled") is None


@pytest.mark.parametrize("result", [None, b"1"])
async def test_attempts_are_forgotten_with_their_job(engine: Engine, result: bytes | None) -> None:
    process = await engine.process()
    await engine.publish_many("succeeded", "cancelled")
    for delivery in await process.claim(2):
        await process.retry(delivery)
    assert await engine.broker.cancel_job(QUEUE, "cancelled")
    engine.clock.move(seconds=2)
    await process.succeed(await process.claim_one(), result=result)
    assert len(await engine.key("history:succeeded")) == 1

    engine.clock.move(hours=1, seconds=1)
    await engine.upkeep()

    assert await engine.key("jobs") is None
    assert await engine.key("history:succeeded") is None
    assert await engine.key("history:cancelled") is None


async def test_dead_jobs_are_forgotten_by_age_and_count(engine: Engine) -> None:
    process = await engine.process()
    for name in "abc":
        await engine.publish(name)
        await process.end(await process.claim_one(), Died("rejected", AttemptError("no")))
        engine.clock.move(seconds=15)
        await process.renew()
    await engine.upkeep()
    by_count = await engine.key("dead")
    engine.clock.move(days=2)
    await engine.upkeep()

    assert by_count == [b"b", b"c"]
    assert await engine.key("dead") is None
    assert await engine.key("jobs") is None
    assert await engine.redis.keys("*history*") == []


async def test_what_is_over_the_bounds_is_forgotten_piece_by_piece_until_nothing_is(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish_many(*(f"job-{number}" for number in range(250)))
    for delivery in await process.claim(250):
        await process.end(delivery, Died("rejected", AttemptError("no")))
    engine.clock.move(seconds=15)

    answers = [(await engine.keep_up()).has_more for _ in range(3)]

    assert answers == [True, True, False]
    assert await engine.counts() == {JobState.DEAD: 2}


async def test_a_dead_job_is_forgotten_with_all_that_it_asked_for(engine: Engine) -> None:
    process = await engine.process()
    await engine.submit("a", level="high", partition="p", continuation="+then")
    (delivery,) = await process.claim()
    await process.end(delivery, Died("rejected", AttemptError("no")))
    kept = ("levels", "partitions", "flows")
    assert [await engine.key(each) is None for each in kept] == [False] * 3

    engine.clock.move(days=3)
    await engine.upkeep()

    assert await engine.key("jobs") is None
    assert [await engine.key(each) for each in kept] == [None] * 3


async def test_a_dead_job_outlives_any_repeated_publish(engine: Engine) -> None:
    process = await engine.process()
    for name in "abcd":
        await engine.publish(name, is_chosen_id=True)
        await process.end(await process.claim_one(), Died("rejected", AttemptError("no")))
    await engine.upkeep()

    assert not await engine.publish("a", is_chosen_id=True)


async def test_the_history_of_a_job_that_was_redriven_goes_with_its_record(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.end(await process.claim_one(), Died("failed", AttemptError("no")))
    await engine.broker.redrive_job(QUEUE, "a")

    await process.succeed(await process.claim_one())

    assert len((await engine.record("a")).history) == 1
    assert 0 < await engine.redis.ttl(f"rd:{{{QUEUE}}}:history:a") <= 3600


@pytest.mark.parametrize("engine_settings", [EngineSettings(finished_max_age=timedelta(hours=2))])
async def test_the_history_of_a_cancelled_job_is_kept_as_long_as_its_record(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.retry(await process.claim_one())

    assert await engine.broker.cancel_job(QUEUE, "a")

    assert 7000 < await engine.redis.ttl(f"rd:{{{QUEUE}}}:history:a") <= 7200


async def test_an_answer_outlasts_a_process_that_redis_forgot_and_stays_if_it_comes_back(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    await engine.redis.flushall()
    calls = f"rd:{{{QUEUE}}}:calls:{process.holder}"

    assert await process.succeed(delivery) == "g"
    assert 0 < await engine.redis.ttl(calls) <= 600
    await process.renew()
    assert await engine.redis.ttl(calls) == -1


async def test_an_answer_is_remembered_for_as_long_as_its_process_has_a_lease(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.succeed(await process.claim_one())

    assert await engine.redis.ttl(f"rd:{{{QUEUE}}}:calls:{process.holder}") == -1
