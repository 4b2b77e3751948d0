"""Publishing: idempotent, bounded, in time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.publishing import publish
from redispatcher_fastapi.broker.types import (
    CREATED,
    KNOWN,
    AttemptError,
    Died,
    EngineSettings,
    Submission,
)
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.job import JobState
from tests.broker.engine import BODY, ENVELOPE, QUEUE, START, Engine


@pytest.fixture
def engine_settings() -> EngineSettings:
    return EngineSettings(
        max_queue_length=5, finished_max_count=0, publish_timeout=timedelta(seconds=1)
    )


async def test_a_published_job_is_queued_with_its_body(engine: Engine) -> None:
    assert await engine.publish("one")

    record = await engine.record("one")

    assert record.state is JobState.QUEUED
    assert record.body == BODY
    assert record.headers == {}
    assert record.published_at == START
    assert (record.attempts, record.losses) == (0, 0)


async def test_publishing_the_same_id_again_leaves_the_one_job(engine: Engine) -> None:
    first = await engine.publish("one", is_chosen_id=True)
    again = await engine.publish("one", is_chosen_id=True)

    assert (first, again) == (True, False)
    assert await engine.key("ready") == [b"one"]


async def test_an_id_given_twice_in_one_call_makes_one_job(engine: Engine) -> None:
    answers = await engine.publish_many("one", "one", "two", is_chosen_id=True)

    assert answers == [True, False, True]
    assert await engine.key("ready") == [b"one", b"two"]


async def test_an_id_of_a_running_or_finished_job_makes_no_second_one(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("one", is_chosen_id=True)
    delivery = await process.claim_one()
    while_running = await engine.publish("one", is_chosen_id=True)
    await process.succeed(delivery)

    assert (while_running, await engine.publish("one", is_chosen_id=True)) == (False, False)


async def test_an_id_the_library_made_can_only_be_known_from_a_try_that_was_lost(
    engine: Engine,
) -> None:
    # A client of the caller's may repeat by itself: what comes back is then the second answer.
    first = await engine.publish("made")
    again = await engine.publish("made")

    assert (first, again) == (True, True)
    assert await engine.key("ready") == [b"made"]


async def test_a_chosen_id_is_remembered_for_a_day_after_its_record_is_gone(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("invoice-7", is_chosen_id=True)
    await process.succeed(await process.claim_one())
    engine.clock.move(hours=2)
    await engine.upkeep()

    assert await engine.state("invoice-7") is None
    engine.clock.move(hours=23, minutes=59)
    assert not await engine.publish("invoice-7", is_chosen_id=True)
    engine.clock.move(minutes=2)
    assert await engine.publish("invoice-7", is_chosen_id=True)


async def test_as_many_chosen_ids_are_remembered_as_jobs_may_wait(engine: Engine) -> None:
    process = await engine.process()
    for job_id in "abcdefg":
        await engine.publish(job_id, is_chosen_id=True)
        await process.succeed(await process.claim_one())
        engine.clock.move(seconds=3)
        await engine.upkeep()

    assert await engine.key("remembered") == [b"c", b"d", b"e", b"f", b"g"]


async def test_an_id_that_is_used_again_has_no_earlier_result(engine: Engine) -> None:
    process = await engine.process()
    for move in (timedelta(hours=25), timedelta()):
        assert await engine.publish("a", is_chosen_id=True)
        assert await engine.key("result:a") is None
        await process.renew()
        await process.succeed(await process.claim_one(), result=b"1")
        assert await engine.key("result:a") == b"1"
        engine.clock.move(seconds=3)
        await engine.upkeep()
        engine.clock.move(seconds=move.total_seconds())


async def test_the_chosen_id_of_a_dead_job_is_remembered_as_well(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("invoice-7", is_chosen_id=True)
    await process.end(await process.claim_one(), Died("failed", AttemptError("no")))
    engine.clock.move(days=31)
    await engine.upkeep()

    assert await engine.state("invoice-7") is None
    assert not await engine.publish("invoice-7", is_chosen_id=True)


async def test_an_id_the_library_made_is_forgotten_with_its_record(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("made")
    await process.succeed(await process.claim_one())
    engine.clock.move(seconds=3)
    await engine.upkeep()

    assert await engine.state("made") is None
    assert await engine.key("remembered") is None


async def test_a_full_queue_refuses_and_says_its_limit(engine: Engine) -> None:
    for name in "abcd":
        await engine.publish(name)
    await engine.publish("later", delay=timedelta(hours=1))

    with pytest.raises(QueueFullError, match=r"'letters' is full.*5 waiting jobs"):
        await engine.publish("one too many")

    assert await engine.state("one too many") is None


async def test_running_jobs_leave_room_in_a_queue(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abcde")
    await process.claim(2)

    assert await engine.publish_many("f", "g") == [True, True]


async def test_cancelled_jobs_leave_room_in_a_queue(engine: Engine) -> None:
    await engine.publish_many(*"abcde")
    await engine.broker.cancel_job(QUEUE, "b")

    assert await engine.publish("f")
    with pytest.raises(QueueFullError):
        await engine.publish("g")


async def test_jobs_that_were_lost_take_room_in_a_queue(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abcde")
    await process.claim(2, suspects=2)
    await engine.lose(process)

    with pytest.raises(QueueFullError):
        await engine.publish("f")


async def test_publishing_many_is_refused_as_a_whole_when_not_all_fit(engine: Engine) -> None:
    await engine.publish_many("a", "b")

    with pytest.raises(QueueFullError):
        await engine.publish_many("c", "d", "e", "f")

    assert await engine.counts() == {JobState.QUEUED: 2}


async def test_callers_who_share_a_round_trip_get_answers_of_their_own(engine: Engine) -> None:
    await engine.publish_many("a", "b", "c")
    submissions = [Submission(name, ENVELOPE) for name in ("a", "d", "e", "f")]

    answers = await publish(engine.redis, engine.clock, QUEUE, submissions, max_queue_length=5)

    assert answers == [KNOWN, CREATED, CREATED, None]


async def test_a_delayed_job_waits_for_its_time(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("delayed", delay=timedelta(seconds=10))
    await engine.publish("timed", at=START + timedelta(seconds=20))

    before = await process.claim(5)
    engine.clock.move(seconds=10)
    at_ten = await process.claim(5)
    engine.clock.move(seconds=10)
    at_twenty = await process.claim(5)

    names = [[delivery.job_id for delivery in batch] for batch in (before, at_ten, at_twenty)]
    assert names == [[], ["delayed"], ["timed"]]


async def test_a_time_that_has_passed_means_now(engine: Engine) -> None:
    await engine.publish("past", at=START - timedelta(days=1))

    assert await engine.state("past") is JobState.QUEUED


async def test_publishing_leaves_at_most_one_wake_up_token(engine: Engine) -> None:
    await engine.publish("a")
    await engine.publish("b")

    assert await engine.key("wake") == [b"1"]


async def test_only_an_earlier_due_time_wakes_a_sleeping_pool(engine: Engine) -> None:
    await engine.publish("noon", delay=timedelta(hours=2))
    await engine.redis.delete(f"rd:{{{QUEUE}}}:wake")
    await engine.publish("evening", delay=timedelta(hours=8))
    after_later = await engine.key("wake")
    await engine.publish("morning", delay=timedelta(hours=1))

    assert (after_later, await engine.key("wake")) == (None, [b"1"])
