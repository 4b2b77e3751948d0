"""What the claims of processes bring where limits hold; none of them knows of the others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.scripts import PAUSE
from redispatcher_fastapi.broker.types import Cancelled, Delivery, Died, Limited, Snoozed
from redispatcher_fastapi.keys import queue_prefix, wake_key
from tests.broker.engine import QUEUE, Engine, Process

SECOND = timedelta(seconds=1)


async def submit(engine: Engine, *job_ids: str, partition: str = "") -> None:
    """Publish jobs; without a partition, each is in the one that its first letter names."""
    for job_id in job_ids:
        await engine.submit(job_id, partition=partition or job_id[0])


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.job_id for delivery in deliveries]


async def take(process: Process, count: int = 10) -> list[str]:
    return ids(await process.claim(count))


async def wait_of(process: Process, count: int = 10) -> timedelta | None:
    """Return for how long a claim that brings nothing says that nothing will change."""
    claimed = await process.ask(process.want(count))
    assert claimed.deliveries == []
    return claimed.wait


async def is_woken(engine: Engine) -> bool:
    return await engine.key("wake") is not None


async def test_as_many_jobs_run_as_the_queue_allows_in_all_processes_together(
    engine: Engine,
) -> None:
    one, other = await engine.process("c3"), await engine.process("c3")
    await engine.publish_many(*"abcde")

    assert await take(one, 2) == ["a", "b"]
    assert await take(other) == ["c"]
    assert await take(one) == []


async def test_whoever_ends_a_job_wakes_those_that_a_limit_kept_from_taking_more(
    engine: Engine,
) -> None:
    one, other = await engine.process("c1"), await engine.process("c1")
    await engine.publish_many(*"abcd")
    running = await one.claim_one()
    assert await take(other) == []
    assert not await is_woken(engine)

    await one.succeed(running)
    assert await is_woken(engine)
    running = (await other.claim())[0]
    assert await take(one) == []
    await other.retry(running)
    assert await is_woken(engine)
    assert await take(one) == ["c"]


async def test_the_jobs_of_a_lost_process_count_until_they_are_taken_back(engine: Engine) -> None:
    lost, process = await engine.process("c1"), await engine.process("c1")
    await engine.publish_many("a", "b")
    await lost.claim()
    assert await take(process) == []

    await engine.lose(lost)

    assert await is_woken(engine)
    assert await take(process) == ["a"]


async def test_each_partition_runs_as_many_as_it_may(engine: Engine) -> None:
    one, other = await engine.process("k2"), await engine.process("k2")
    await submit(engine, "a1", "a2", "a3", "a4", "b1")

    running = await one.claim(10)
    assert ids(running) == ["a1", "b1", "a2"]
    assert await take(other) == []
    await submit(engine, "a5", "c1")
    assert await take(other) == ["c1"]
    await one.succeed(running[0])
    assert await is_woken(engine)
    assert await take(other) == ["a3"]


async def test_partitions_start_jobs_in_turn_however_many_one_has(engine: Engine) -> None:
    process = await engine.process()
    jobs = [engine.submission(f"a{number}", partition="a") for number in range(200)]
    await engine.sender.send_many(QUEUE, jobs)
    await submit(engine, "b1", "b2", "c1")

    assert await take(process, 6) == ["a0", "b1", "c1", "a1", "b2", "a2"]
    await submit(engine, "d1")
    assert await take(process, 3) == ["a3", "d1", "a4"]


async def test_no_more_start_within_any_stretch_of_time_than_a_rate_allows(engine: Engine) -> None:
    process = await engine.process("r3/10000")
    await engine.publish_many(*"abcdefgh")

    assert await take(process, 2) == ["a", "b"]
    engine.clock.move(seconds=6)
    assert await take(process) == ["c"]
    assert await wait_of(process) == timedelta(seconds=4)
    engine.clock.move(seconds=3.999)
    assert await wait_of(process) == timedelta(milliseconds=1)
    engine.clock.move(seconds=0.001)
    assert await take(process) == ["d", "e"]
    engine.clock.move(seconds=6)
    assert await take(process) == ["f"]


async def test_of_two_rates_both_hold(engine: Engine) -> None:
    process = await engine.process("r2/1000,3/10000")
    await engine.publish_many(*"abcdef")

    assert await take(process) == ["a", "b"]
    assert await wait_of(process) == SECOND
    engine.clock.move(seconds=1)
    assert await take(process) == ["c"]
    assert await wait_of(process) == timedelta(seconds=9)


async def test_starts_count_for_the_longest_of_the_rates(engine: Engine) -> None:
    process = await engine.process("r2/60000,1/1000")
    await engine.publish_many(*"abcd")

    for job_id in "ab":
        assert await take(process) == [job_id]
        engine.clock.move(seconds=2)

    assert await wait_of(process) == timedelta(seconds=56)


async def test_a_partition_goes_on_when_its_lost_job_is_cancelled(engine: Engine) -> None:
    lost, process = await engine.process(), await engine.process()
    await submit(engine, "a1", "a2")
    assert await take(lost, 1) == ["a1"]
    await engine.lose(lost)
    assert await process.claim(10, suspects=0) == []
    assert await engine.broker.cancel_job(QUEUE, "a1")

    assert await take(process) == ["a2"]


async def test_a_slot_that_a_job_leaves_to_run_again_later_wakes_a_pool(engine: Engine) -> None:
    process = await engine.process("k1")
    await submit(engine, "b1")
    await process.retry(await process.claim_one(), after=60)  # no later one wakes for its time
    await submit(engine, "a1", "a2")
    running = await process.claim_one()
    assert await take(process) == []
    assert not await is_woken(engine)

    await process.retry(running, after=3600)

    assert await is_woken(engine)
    assert await take(process) == ["a2"]


async def test_a_pause_that_has_ended_keeps_nothing_from_running_alone(engine: Engine) -> None:
    for _ in range(3):
        lost = await engine.process()
        if not await engine.counts():
            await engine.publish("poison")
        await lost.claim()
        await engine.lose(lost)
    now = int(engine.clock.time.timestamp() * 1000)
    await PAUSE.run(engine.redis, [queue_prefix(QUEUE)], [now, "d1000", "full"])
    process = await engine.process()
    assert await process.claim_solo() is None

    engine.clock.move(seconds=1)

    assert (await process.claim_solo()).job_id == "poison"


async def test_the_rate_of_one_partition_holds_back_no_other(engine: Engine) -> None:
    process = await engine.process("s1/10000")
    await submit(engine, "a1", "a2", "b1")

    assert await take(process) == ["a1", "b1"]
    assert await wait_of(process) == timedelta(seconds=10)
    await submit(engine, "a3", "c1")
    assert await take(process) == ["c1"]
    engine.clock.move(seconds=10)
    assert await take(process) == ["a2"]


async def test_a_job_that_is_tried_again_is_a_start_and_gave_its_place_back(
    engine: Engine,
) -> None:
    process = await engine.process("k1;r2/10000")
    await submit(engine, "a1", "a2")
    await process.retry(await process.claim_one(), after=1)
    running = await process.claim(10)
    assert ids(running) == ["a2"]
    await process.succeed(*running)

    engine.clock.move(seconds=1)
    assert await take(process) == []
    engine.clock.move(seconds=9)
    assert await take(process) == ["a1"]


@pytest.mark.parametrize("how", ["retry", "snooze"])
async def test_in_an_order_the_next_job_waits_for_one_that_runs_again(
    engine: Engine, how: str
) -> None:
    process = await engine.process("o")
    await submit(engine, "a1", "a2", "b1")
    running = await process.claim(10)
    assert ids(running) == ["a1", "b1"]
    if how == "retry":
        await process.retry(running[0], after=5)
    else:
        await process.end(running[0], Snoozed(timedelta(seconds=5)))

    assert await wait_of(process) == timedelta(seconds=5)
    engine.clock.move(seconds=5)
    assert await take(process) == ["a1"]


@pytest.mark.parametrize("how", ["succeed", "die", "cancel running", "cancel retrying", "delete"])
async def test_in_an_order_the_next_job_starts_once_the_one_before_is_finished(
    engine: Engine, how: str
) -> None:
    process = await engine.process("o")
    await submit(engine, "a1", "a2")
    running = await process.claim_one()
    match how:
        case "succeed":
            await process.succeed(running)
        case "die":
            await process.end(running, Died("rejected"))
        case "cancel running":
            await engine.broker.cancel_job(QUEUE, "a1")
            await process.end(running, Cancelled())
        case _:
            await process.retry(running, after=60)
            assert await take(process) == []
            assert not await is_woken(engine)
            if how == "delete":
                await engine.broker.delete_job(QUEUE, "a1")
            else:
                await engine.broker.cancel_job(QUEUE, "a1")

    assert await is_woken(engine)
    assert await take(process) == ["a2"]


async def test_a_lost_or_released_job_comes_before_the_others_of_its_order(engine: Engine) -> None:
    lost, process = await engine.process("o"), await engine.process("o")
    await submit(engine, "a1", "a2", "a3")
    await lost.claim()
    await engine.lose(lost)

    running = await process.claim_one()
    assert running.job_id == "a1"
    await process.release(running)
    assert await take(process) == ["a1"]


async def test_an_isolated_job_keeps_its_place_in_the_order_until_it_is_dead(
    engine: Engine,
) -> None:
    await submit(engine, "a1", "a2")
    for loss in range(3):
        process = await engine.process("o")
        assert await take(process) == ["a1"], loss
        await engine.lose(process)

    process = await engine.process("o")
    assert await take(process) == []
    assert await engine.key("solo") == [b"a1"]
    for _ in range(2):
        assert (await process.claim_solo()).job_id == "a1"
        await engine.lose(process)
        process = await engine.process("o")
        await take(process, 1)
    assert (await engine.record("a1")).reason == "worker_lost"
    assert (await engine.record("a2")).state == "running"


async def test_a_job_that_ran_into_a_limit_lets_its_partition_rest_uncharged(
    engine: Engine,
) -> None:
    process = await engine.process("k2")
    await submit(engine, "a1", "a2", "a3", "b1")
    running = await process.claim(1)
    await process.end(running[0], Limited(timedelta(seconds=30)))

    assert await take(process) == ["b1"]
    assert await wait_of(process) == timedelta(seconds=30)
    engine.clock.move(seconds=30)
    again = await process.claim(10)
    assert [(each.job_id, each.attempt) for each in again] == [("a1", 1), ("a2", 1)]


@pytest.mark.parametrize("partition", ["a", ""])
async def test_a_job_that_ran_into_a_limit_of_all_lets_its_queue_rest(
    engine: Engine, partition: str
) -> None:
    process = await engine.process()
    for job_id in ("a1", "a2"):
        await engine.submit(job_id, partition=partition)
    await engine.publish("x")
    running = await process.claim(1)
    await process.end(running[0], Limited(timedelta(seconds=30), is_queue=bool(partition)))

    assert await wait_of(process) == timedelta(seconds=30)
    engine.clock.move(seconds=30)
    assert len(await take(process)) == 3


async def test_limits_that_are_set_hold_for_every_process_and_can_be_taken_back(
    engine: Engine,
) -> None:
    one, other = await engine.process("c1"), await engine.process("c9")
    await engine.publish_many(*"abcdefgh")
    running = await one.claim(10)
    assert ids(running) == ["a"]

    await engine.broker.set_queue_limits(QUEUE, "c3")
    assert await is_woken(engine)
    assert await take(one) == ["b", "c"]
    assert await take(other) == []

    await engine.broker.set_queue_limits(QUEUE, None)
    assert await take(one) == []
    assert await take(other, 2) == ["d", "e"]

    await engine.broker.set_queue_limits(QUEUE, "")
    assert await take(one) == ["f", "g", "h"]


async def test_lower_limits_hold_as_soon_as_enough_has_ended(engine: Engine) -> None:
    process = await engine.process("k3")
    await submit(engine, *(f"a{number}" for number in range(6)))
    running = await process.claim(10)
    assert len(running) == 3

    await engine.broker.set_queue_limits(QUEUE, "k1")
    await process.succeed(running[0])
    await process.succeed(running[1])
    assert await take(process) == []
    await process.succeed(running[2])
    assert await take(process) == ["a3"]


async def test_new_limits_end_the_rest_by_a_rate_and_not_one_that_a_job_asked_for(
    engine: Engine,
) -> None:
    process = await engine.process("s1/86400000")
    await submit(engine, "a1", "a2", "b1", "b2")
    running = await process.claim(10)
    assert await wait_of(process) == timedelta(days=1)
    await process.end(running[1], Limited(timedelta(hours=1)))

    await engine.broker.set_queue_limits(QUEUE, "s5/1000")

    assert await take(process) == ["a2"]
    assert await wait_of(process) == timedelta(hours=1)


async def test_a_rate_that_was_lowered_counts_what_has_started_before(engine: Engine) -> None:
    process = await engine.process("r5/10000")
    await engine.publish_many(*"abcdefghij")
    assert len(await take(process)) == 5
    engine.clock.move(seconds=4)

    await engine.broker.set_queue_limits(QUEUE, "r2/10000")

    assert await wait_of(process) == timedelta(seconds=6)


async def test_two_versions_side_by_side_apply_their_own_limits_to_the_same_counts(
    engine: Engine,
) -> None:
    before, after = await engine.process("k3"), await engine.process("k1")
    await submit(engine, "a1", "a2", "a3", "a4", "b1")

    assert await take(after, 1) == ["a1"]
    assert await take(before, 1) == ["b1"]
    assert await take(after) == []
    await submit(engine, "a5")
    assert await take(before) == ["a2", "a3"]


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    running = await process.claim_one()

    await engine.broker.pause_queue(QUEUE, None, "maintenance")
    claimed = await process.ask(process.want(10))
    assert (claimed.deliveries, claimed.wait, claimed.paused) == ([], None, {QUEUE})
    assert await process.succeed(running) == "1"
    assert await engine.publish("c")

    assert await engine.broker.resume_queue(QUEUE)
    assert await is_woken(engine)
    assert await take(process) == ["b", "c"]
    assert not await engine.broker.resume_queue(QUEUE)


async def test_a_pause_ends_by_itself(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")

    await engine.broker.pause_queue(QUEUE, timedelta(minutes=1), "")

    assert await wait_of(process) == timedelta(minutes=1)
    engine.clock.move(minutes=1)
    assert await take(process) == ["a"]
    assert await engine.key("control") is None


async def test_a_pause_that_is_set_again_has_the_new_end(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await engine.broker.pause_queue(QUEUE, timedelta(minutes=1), "first")
    await engine.broker.pause_queue(QUEUE, timedelta(minutes=5), "second")

    assert await wait_of(process) == timedelta(minutes=5)


async def test_a_job_lost_with_its_process_is_taken_at_once_from_its_line(engine: Engine) -> None:
    lost, process = await engine.process("k1"), await engine.process("k1")
    await submit(engine, "a1", "a2")
    await lost.claim()
    await engine.lose(lost)

    assert await take(process) == ["a1"]


async def test_partitions_with_lost_jobs_do_not_keep_the_others_from_being_served(
    engine: Engine,
) -> None:
    lost, process = await engine.process("k1"), await engine.process("k1")
    jobs = [engine.submission(f"l{number}", partition=f"l{number}") for number in range(240)]
    await engine.sender.send_many(QUEUE, jobs)
    await lost.claim(240)
    await engine.lose(lost)
    await submit(engine, "b1", "c1")

    claimed = await process.claim(10, suspects=0)
    while not claimed and await is_woken(engine):
        claimed = await process.claim(10, suspects=0)
    assert ids(claimed) == ["b1", "c1"]
    # Nobody is woken again and again for what it may not take.
    await engine.redis.delete(wake_key(QUEUE))
    await process.claim(10, suspects=0)
    assert not await is_woken(engine)
    assert len(await process.claim(10, suspects=4)) == 4


async def test_the_last_place_is_kept_for_a_job_that_must_run_alone(engine: Engine) -> None:
    await engine.publish("killer")
    for _ in range(3):
        process = await engine.process("c1")
        await process.claim(1)
        await engine.lose(process)
    one, other = await engine.process("c1"), await engine.process("c1")
    await engine.publish_many("a", "b")
    running = await other.claim_one()

    assert await one.claim_solo() is None
    await other.succeed(running)
    assert await take(other) == []
    assert (await one.claim_solo()).job_id == "killer"


async def test_a_job_that_must_run_alone_does_not_exceed_a_rate(engine: Engine) -> None:
    for loss in range(3):
        process = await engine.process("s1/100000")
        if not loss:
            await submit(engine, "a1")
        assert await take(process) == ["a1"]
        await engine.lose(process)
        engine.clock.move(seconds=100)
    process = await engine.process("s1/100000")
    await submit(engine, "a2")
    assert await take(process) == ["a2"]

    assert await process.claim_solo() is None
    engine.clock.move(seconds=100)
    await process.renew()
    assert (await process.claim_solo()).job_id == "a1"
    await submit(engine, "a3")
    assert await take(process) == []


async def test_a_paused_queue_lets_nobody_empty_itself_for_a_job_that_runs_alone(
    engine: Engine,
) -> None:
    await engine.publish("killer")
    for _ in range(3):
        process = await engine.process()
        await process.claim(1)
        await engine.lose(process)
    process = await engine.process()
    await engine.broker.pause_queue(QUEUE, None, "")

    assert (await process.ask(process.want(1))).has_solo == set()
    assert await process.claim_solo(is_empty=False) is None
    await engine.broker.resume_queue(QUEUE)
    assert (await process.ask(process.want(1))).has_solo == {QUEUE}


async def test_a_repeated_claim_brings_the_same_jobs_and_counts_them_once(engine: Engine) -> None:
    process = await engine.process("k2;s3/1000")
    await submit(engine, "a1", "a2", "a3")
    want = process.want(1)
    first = await process.ask(want)

    again = await process.ask(want)

    assert ids(again.deliveries) == ids(first.deliveries) == ["a1"]
    assert await engine.key("used") == {b"a": b"1"}
    assert len(await engine.key("starts:a")) == 1


async def test_nothing_is_left_of_limits_once_all_jobs_are_done(engine: Engine) -> None:
    process = await engine.process("c2;k1;r100/1000;s100/1000")
    await submit(engine, "a1", "a2", "b1", "c1")
    await engine.submit("a3", partition="a", level="high")
    await engine.broker.pause_queue(QUEUE, SECOND, "")
    await engine.broker.set_queue_limits(QUEUE, "k1")
    await take(process)
    engine.clock.move(seconds=1)
    ended = 0
    while running := await process.claim(10):
        ended += len(running)
        await process.succeed(*running)
    assert ended == 5
    await engine.broker.set_queue_limits(QUEUE, None)
    await engine.upkeep()

    left = {key.decode().rpartition(":")[2] for key in await engine.redis.keys("*")}
    assert left <= {"jobs", "stats", "succeeded", "leases", "wake", process.holder}
