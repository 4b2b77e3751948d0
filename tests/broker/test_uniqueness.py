"""One job at a time for messages that are the same: who has the lock, and when it goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi.broker.types import (
    AttemptError,
    Cancelled,
    Died,
    EngineSettings,
    Submission,
    Traits,
)
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.job import JobState
from tests.broker.engine import QUEUE, START, Engine

LOCKS = ("uniques", "locks", "windows")


@pytest.fixture
def engine_settings() -> EngineSettings:
    return EngineSettings(max_queue_length=50)


async def submit(engine: Engine, job_id: str, lock: str = "d:k", **options: Any) -> tuple[str, Any]:
    answer = await engine.submit(job_id, lock=lock, lock_key="K", **options)
    return answer.letter, answer.other


async def held_keys(engine: Engine) -> list[str]:
    return [key for key in LOCKS if await engine.key(key)]


async def test_a_second_message_like_it_meets_the_job_that_is_there(engine: Engine) -> None:
    assert await submit(engine, "a") == ("1", None)
    assert await submit(engine, "b") == ("u", "a")

    assert await engine.state("b") is None
    assert await engine.counts() == {JobState.QUEUED: 1}


async def test_a_message_with_another_key_gets_a_job_of_its_own(engine: Engine) -> None:
    await submit(engine, "a")

    answer = await engine.submit("b", lock="d:k", lock_key="other")

    assert answer.is_new


async def test_of_messages_in_one_call_the_first_gets_the_job(engine: Engine) -> None:
    traits = [Traits(lock=lock, lock_key=key) for lock, key in [("d:k", "K"), ("d:r", "L")]]
    submissions = [
        Submission(f"j{number}", b'{"v":1,"body":%d}' % number, traits=traits[number % 2])
        for number in range(6)
    ]

    answers = await engine.sender.send_many(QUEUE, submissions)

    assert [answer.letter for answer in answers] == ["1", "1", "u", "r", "u", "r"]
    assert [answer.other for answer in answers] == [None, None, "j0", "j1", "j0", "j1"]
    assert [(await engine.record(job_id)).body for job_id in ("j0", "j1")] == [b"0", b"5"]


async def test_a_publish_that_is_repeated_meets_its_own_job(engine: Engine) -> None:
    await submit(engine, "a")

    # The id was made here: only a try whose answer was lost can have published it.
    assert await submit(engine, "a") == ("1", None)


@pytest.mark.parametrize("ending", ["success", "death", "cancel", "delete", "expiry"])
async def test_a_lock_until_done_goes_with_the_job_however_it_ends(
    engine: Engine, ending: str
) -> None:
    expiry = timedelta(seconds=10) if ending == "expiry" else None
    await submit(engine, "a", expiry=expiry)

    await end(engine, ending)

    assert await held_keys(engine) == []
    assert await submit(engine, "b") == ("1", None)


async def end(engine: Engine, ending: str) -> None:
    """End the one job that waits in the queue."""
    process = await engine.process()
    match ending:
        case "success":
            await process.succeed(await process.claim_one())
        case "death":
            await process.end(await process.claim_one(), Died("failed", AttemptError("no")))
        case "cancel":
            assert await engine.broker.cancel_job(QUEUE, "a")
        case "delete":
            assert await engine.broker.delete_job(QUEUE, "a")
        case _:
            engine.clock.move(seconds=10)
            assert await process.claim() == []
            assert await engine.state("a") is JobState.CANCELLED


async def test_a_lock_until_done_stays_through_retries_losses_and_releases(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a")

    await process.retry(await process.claim_one())
    assert await submit(engine, "b") == ("u", "a")
    engine.clock.move(seconds=1)
    await process.release(await process.claim_one())
    assert await submit(engine, "c") == ("u", "a")
    await process.claim_one()
    await engine.lose(process)
    assert await submit(engine, "d") == ("u", "a")

    heir = await engine.process()
    await heir.succeed(await heir.claim_one())
    assert await submit(engine, "e") == ("1", None)


async def test_a_job_that_dies_of_lost_processes_lets_go_of_its_lock(engine: Engine) -> None:
    await submit(engine, "a")
    for _ in range(9):
        process = await engine.process()
        assert await process.claim() or await process.claim_solo()
        await engine.lose(process)
        if await engine.state("a") is JobState.DEAD:
            break

    assert (await engine.record("a")).reason == "worker_lost"
    assert await submit(engine, "b") == ("1", None)


async def test_a_running_job_that_is_cancelled_lets_go_when_it_ends(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a")
    delivery = await process.claim_one()

    await engine.broker.cancel_job(QUEUE, "a")
    assert await submit(engine, "b") == ("u", "a")
    request = process.broker.next_request()
    await process.broker.fail(QUEUE, process.holder, request, [(delivery, Cancelled())])

    assert await submit(engine, "c") == ("1", None)


async def test_a_lock_while_waiting_goes_when_the_job_starts(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "w:k")
    assert await submit(engine, "b", "w:k") == ("u", "a")

    delivery = await process.claim_one()
    assert await submit(engine, "c", "w:k") == ("1", None)
    await process.retry(delivery, after=0)

    # The attempt that failed does not take the lock back from the job that has it now.
    assert await submit(engine, "d", "w:k") == ("u", "c")


async def test_a_lock_while_waiting_lasts_while_a_job_is_scheduled(engine: Engine) -> None:
    await submit(engine, "a", "w:k", delay=60)

    engine.clock.move(seconds=59)

    assert await submit(engine, "b", "w:k") == ("u", "a")


async def test_a_lock_for_a_time_outlasts_a_job_that_is_done(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "t60000:k")
    await process.succeed(await process.claim_one())

    engine.clock.move(seconds=59)
    assert await submit(engine, "b", "t60000:k") == ("u", "a")
    engine.clock.move(seconds=1)
    assert await submit(engine, "c", "t60000:k") == ("1", None)


async def test_a_lock_for_a_time_lets_a_second_job_beside_one_that_takes_longer(
    engine: Engine,
) -> None:
    process = await engine.process()
    await submit(engine, "a", "t60000:k")
    delivery = await process.claim_one()
    engine.clock.move(seconds=20)
    await process.renew()
    engine.clock.move(seconds=25)
    await process.renew()
    engine.clock.move(seconds=20)
    await process.renew()
    assert await submit(engine, "b", "t60000:k") == ("1", None)

    await process.succeed(delivery)

    # The lock is that of the second one by now.
    assert await submit(engine, "c", "t60000:k") == ("u", "b")


async def test_a_lock_for_a_time_outlasts_a_death_and_not_a_job_that_never_ran(
    engine: Engine,
) -> None:
    process = await engine.process()
    await submit(engine, "a", "t60000:k")
    await process.end(await process.claim_one(), Died("failed", AttemptError("no")))
    assert await submit(engine, "b", "t60000:k") == ("u", "a")

    await engine.submit("c", lock="t60000:k", lock_key="other")
    await engine.broker.cancel_job(QUEUE, "c")

    assert (await engine.submit("d", lock="t60000:k", lock_key="other")).is_new


async def test_the_end_of_a_lock_for_a_time_does_not_free_what_was_locked_since(
    engine: Engine,
) -> None:
    await submit(engine, "a", "t60000:k")
    engine.clock.move(seconds=60)
    await submit(engine, "b", "d:k")

    await engine.keep_up()
    assert await submit(engine, "c") == ("u", "b")
    await engine.broker.cancel_job(QUEUE, "a")

    assert await submit(engine, "d") == ("u", "b")


async def test_nothing_is_left_of_locks_whose_time_is_over(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "t60000:k")
    await process.succeed(await process.claim_one())
    assert await held_keys(engine) == ["uniques", "windows"]

    engine.clock.move(seconds=60)
    await engine.keep_up()

    assert await held_keys(engine) == []


async def test_a_message_is_refused_on_demand_and_changes_nothing(engine: Engine) -> None:
    await submit(engine, "a", delay=60)

    assert await submit(engine, "b", "d:x", body=b'{"n":2}', delay=5) == ("x", "a")

    record = await engine.record("a")
    assert (record.body, record.due_at) == (b'{"text":"hello"}', START + timedelta(seconds=60))


async def test_a_message_that_is_replaced_keeps_its_place_and_time(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a")
    await engine.publish("after")

    assert await submit(engine, "b", "d:r", body=b'{"n":2}', delay=60) == ("r", "a")

    first, _ = await process.claim(2)
    assert (first.job_id, first.envelope) == ("a", b'{"v":1,"body":{"n":2}}')
    assert first.published_at == START


async def test_a_job_that_runs_keeps_its_message(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a")
    await process.claim_one()

    for action in ("r", "p"):
        answer = await submit(engine, "b", f"d:{action}", body=b'{"n":2}', delay=60)
        assert answer == ("u", "a")

    assert (await engine.record("a")).body == b'{"text":"hello"}'


async def test_a_job_that_waits_for_a_retry_gets_the_message_and_keeps_its_time(
    engine: Engine,
) -> None:
    process = await engine.process()
    await submit(engine, "a")
    await process.retry(await process.claim_one(), after=5)

    assert await submit(engine, "b", "d:p", body=b'{"n":2}', delay=60) == ("r", "a")

    record = await engine.record("a")
    assert (record.state, record.body) == (JobState.RETRYING, b'{"n":2}')
    assert record.due_at == START + timedelta(seconds=5)


async def test_each_message_puts_a_debounced_job_off(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "w:p", delay=10)
    for number in range(3):
        engine.clock.move(seconds=6)
        answer = await submit(engine, f"b{number}", "w:p", body=b'{"n":%d}' % number, delay=10)
        assert answer == ("p", "a")

    engine.clock.move(seconds=9)
    assert await process.claim() == []
    engine.clock.move(seconds=1)
    delivery = await process.claim_one()

    assert delivery.envelope == b'{"v":1,"body":{"n":2}}'


@pytest.mark.parametrize("partition", ["", "tenant"])
async def test_a_debounced_job_that_was_due_waits_again_and_runs_once(
    engine: Engine, partition: str
) -> None:
    process = await engine.process()
    await submit(engine, "a", "w:p", delay=10, partition=partition)
    await engine.submit("other", partition=partition)
    engine.clock.move(seconds=10)
    await process.want_nothing()  # lets on what is due
    assert await engine.state("a") is JobState.QUEUED

    for _ in range(2):
        answer = await submit(engine, "b", "w:p", delay=10, partition=partition)
        assert answer == ("p", "a")
        assert await engine.state("a") is JobState.SCHEDULED
        engine.clock.move(seconds=10)
        await process.want_nothing()
    await submit(engine, "c", "w:p", delay=10, partition=partition)

    assert [delivery.job_id for delivery in await process.claim(5)] == ["other"]
    engine.clock.move(seconds=10)
    assert [delivery.job_id for delivery in await process.claim(5)] == ["a"]
    assert await process.claim(5) == []
    assert await engine.key("moved") is None


async def test_a_cancelled_debounced_job_never_runs_from_its_old_place(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "w:p", delay=10)
    engine.clock.move(seconds=10)
    await process.want_nothing()
    await submit(engine, "b", "w:p", delay=10)

    await engine.broker.cancel_job(QUEUE, "a")
    assert await submit(engine, "a2", "w:p", delay=10) == ("1", None)

    assert await process.claim(5) == []
    engine.clock.move(seconds=10)
    assert [delivery.job_id for delivery in await process.claim(5)] == ["a2"]


async def test_a_job_that_has_expired_unnoticed_is_no_obstacle(engine: Engine) -> None:
    await submit(engine, "a", "d:k", expiry=timedelta(seconds=10))
    engine.clock.move(seconds=10)

    assert await submit(engine, "b", "d:k") == ("1", None)

    record = await engine.record("a")
    assert (record.state, record.reason) == (JobState.CANCELLED, "expired")
    process = await engine.process()
    assert [delivery.job_id for delivery in await process.claim(5)] == ["b"]
    assert await engine.key("ghosts") is None


async def test_a_scheduled_job_that_has_expired_is_gone_from_the_timetable(engine: Engine) -> None:
    await submit(engine, "a", "d:k", expiry=timedelta(seconds=10), delay=60)
    engine.clock.move(seconds=10)

    assert await submit(engine, "b", "d:k") == ("1", None)

    assert await engine.key("scheduled") is None
    assert await engine.counts() == {JobState.CANCELLED: 1, JobState.QUEUED: 1}


async def test_a_message_that_is_replaced_expires_anew(engine: Engine) -> None:
    await submit(engine, "a", "d:r", expiry=timedelta(seconds=10), delay=5)
    await engine.submit("b", lock="d:r", lock_key="other", expiry=timedelta(seconds=10))
    engine.clock.move(seconds=2)

    await submit(engine, "a2", "d:p", expiry=timedelta(seconds=10), delay=5)
    await engine.submit("b2", lock="d:r", lock_key="other")

    assert (await engine.record("a")).expires_at == START + timedelta(seconds=12)
    assert (await engine.record("b")).expires_at is None


async def test_a_job_that_has_started_does_not_come_to_expire_again(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a", "d:r", expiry=timedelta(seconds=10))
    await process.retry(await process.claim_one(), after=60)

    await submit(engine, "b", "d:r", expiry=timedelta(seconds=10))

    assert (await engine.record("a")).expires_at is None


async def test_a_full_queue_still_tells_of_the_job_that_is_there(engine: Engine) -> None:
    await submit(engine, "a")
    await engine.publish_many(*(f"j{number}" for number in range(49)))

    assert await submit(engine, "b") == ("u", "a")
    with pytest.raises(QueueFullError):
        await engine.submit("c", lock="d:k", lock_key="other")


async def test_a_redriven_job_has_no_lock(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "a")
    await process.end(await process.claim_one(), Died("failed", AttemptError("no")))
    await submit(engine, "b")

    await engine.broker.redrive_job(QUEUE, "a")
    await process.succeed(*await process.claim(5))

    assert await held_keys(engine) == []
