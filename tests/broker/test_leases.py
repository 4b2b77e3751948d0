"""Leases: lost processes, the fence, isolation of killers, the grace after an outage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.types import AttemptError, Delivery, Grace, Retried, TakenBack
from redispatcher_fastapi.job import JobState
from tests.broker.engine import BODY, QUEUE, Engine


async def test_a_lost_process_gives_its_jobs_to_another(engine: Engine) -> None:
    lost, alive = await engine.process(), await engine.process()
    await engine.publish_many("a", "b")
    await lost.claim(2)

    taken = await engine.lose(lost)
    again = await alive.claim(2, suspects=2)

    assert sorted((job.job_id, job.losses, job.is_dead) for job in taken) == [
        ("a", 1, False),
        ("b", 1, False),
    ]
    assert sorted((delivery.job_id, delivery.losses) for delivery in again) == [("a", 1), ("b", 1)]
    assert {delivery.attempt for delivery in again} == {1}


async def test_nothing_is_taken_before_the_lease_ends(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)
    for _ in range(2):
        engine.clock.move(seconds=14)
        assert await engine.upkeep() == []

    assert await engine.state("a") is JobState.RUNNING


async def test_a_renewed_lease_keeps_the_job(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)
    for _ in range(12):
        engine.clock.move(seconds=10)
        assert await process.renew() == 1
        assert await engine.upkeep() == []

    assert await engine.state("a") is JobState.RUNNING


async def test_every_write_of_a_process_whose_lease_was_taken_is_refused(engine: Engine) -> None:
    zombie, alive = await engine.process(), await engine.process()
    await engine.publish_many("a", "b", "c")
    ack, fail, back = await zombie.claim(3)
    await engine.lose(zombie)
    await alive.claim(3, suspects=3)

    assert await zombie.succeed(ack, result=b"1") == "s"
    assert await zombie.retry(fail) == "s"
    assert await zombie.release(back) == "s"
    assert await engine.counts() == {JobState.RUNNING: 3}
    assert await engine.key("result:a") is None
    assert (await engine.key("stats"))[b"stale"] == b"3"


async def test_the_fence_holds_between_two_deliveries_to_the_same_process(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    first = await process.claim_one()
    await process.release(first)
    second = await process.claim_one()

    assert await process.succeed(first) == "s"
    assert await process.succeed(second) == "1"


async def test_a_process_that_was_given_up_never_comes_back(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)
    await engine.lose(process)

    assert await process.renew() is None
    assert (await process.ask(process.want(1))).unleased == {QUEUE}


async def test_an_idle_process_that_vanished_leaves_no_lease(engine: Engine) -> None:
    process = await engine.process()

    await engine.lose(process)

    assert process.holder.encode() not in await engine.key("leases")


async def test_losses_and_errors_are_counted_apart(engine: Engine) -> None:
    lost, alive = await engine.process(), await engine.process()
    await engine.publish("a")
    await lost.retry(await lost.claim_one())
    engine.clock.move(seconds=1)
    await lost.claim_one()
    await engine.lose(lost)

    (delivery,) = await alive.claim(1)

    assert (delivery.attempt, delivery.losses) == (2, 1)
    record = await engine.record("a")
    assert [attempt.outcome for attempt in record.history] == ["failed", "lost"]


async def test_suspects_take_only_their_share_of_a_claim(engine: Engine) -> None:
    lost, alive = await engine.process(), await engine.process()
    await engine.publish_many(*"abcd")
    await lost.claim(4)
    await engine.publish_many(*"wxyz")
    await engine.lose(lost)

    claimed = await alive.claim(4, suspects=1)

    assert sorted(delivery.losses for delivery in claimed) == [0, 0, 0, 1]


async def kill_while_holding(engine: Engine, job_id: str, *, alone: bool) -> Delivery:
    """Claim a job in a new process and lose that process."""
    process = await engine.process()
    delivery: Delivery
    if alone:
        delivery = await process.claim_solo()
    else:
        (delivery,) = await process.claim(1)
    assert delivery.job_id == job_id
    await engine.lose(process)
    return delivery


async def test_a_job_that_kills_its_process_is_dead_after_five_starts(engine: Engine) -> None:
    await engine.publish("poison")
    for _ in range(3):
        await kill_while_holding(engine, "poison", alone=False)
    bystander = await engine.process()
    shared = await bystander.ask(bystander.want(5))
    for _ in range(2):
        await kill_while_holding(engine, "poison", alone=True)

    record = await engine.record("poison")

    assert (shared.deliveries, shared.has_solo) == ([], {QUEUE})
    assert (record.state, record.reason) == (JobState.DEAD, "worker_lost")
    assert (record.losses, record.body) == (5, BODY)
    assert [attempt.outcome for attempt in record.history] == ["lost"] * 5


async def test_a_job_that_is_redriven_again_and_again_keeps_its_newest_attempts(
    engine: Engine,
) -> None:
    await engine.publish("poison")
    for _ in range(5):
        for losses in range(5):
            await kill_while_holding(engine, "poison", alone=losses >= 3)
        assert await engine.broker.redrive_job(QUEUE, "poison")

    assert len((await engine.record("poison")).history) == 20


async def test_an_innocent_job_survives_beside_one_that_kills(engine: Engine) -> None:
    await engine.publish_many("innocent", "poison")
    for _ in range(3):
        process = await engine.process()
        assert len(await process.claim(2, suspects=2)) == 2
        await engine.lose(process)

    survivor = await engine.process()
    while (alone := await survivor.claim_solo()) is not None:
        if alone.job_id == "innocent":
            assert await survivor.succeed(alone) == "1"
        else:
            await engine.lose(survivor)
            survivor = await engine.process()

    assert await engine.state("innocent") is JobState.SUCCEEDED
    assert await engine.state("poison") is JobState.DEAD


async def test_a_busy_process_gets_the_turn_to_empty_itself_and_others_do_not(
    engine: Engine,
) -> None:
    await engine.publish("poison")
    for _ in range(3):
        await kill_while_holding(engine, "poison", alone=False)
    one, other = await engine.process(), await engine.process()

    want = one.want(1)
    answers = [await one.broker.claim_solo(want, is_empty=False, turn=30.0) for _ in range(2)]
    assert answers == ["turn", "turn"]  # the second one as if the reply had been lost
    assert await one.claim_solo(is_empty=False) is None  # it is not to be had again and again
    assert await other.claim_solo(is_empty=False) is None
    assert (await one.claim_solo(is_empty=True)).job_id == "poison"


async def test_a_solo_claim_whose_reply_was_lost_is_repeated_with_the_same_job(
    engine: Engine,
) -> None:
    await engine.publish("poison")
    for _ in range(3):
        await kill_while_holding(engine, "poison", alone=False)
    process = await engine.process()
    want = process.want(1)

    lost = await process.broker.claim_solo(want, is_empty=True, turn=30.0)
    repeated = await process.broker.claim_solo(want, is_empty=True, turn=30.0)

    assert isinstance(lost, Delivery)
    assert lost == repeated


async def test_a_solo_claim_that_arrives_once_more_after_its_job_was_settled_takes_no_other(
    engine: Engine,
) -> None:
    for job_id in ("poison", "venom"):
        await engine.publish(job_id)
        for _ in range(3):
            await kill_while_holding(engine, job_id, alone=False)
    process = await engine.process()
    want = process.want(1)
    first = await process.broker.claim_solo(want, is_empty=True, turn=30.0)
    assert isinstance(first, Delivery)
    await process.succeed(first)

    late = await process.broker.claim_solo(want, is_empty=True, turn=30.0)

    assert late is None
    assert await engine.key(f"held:{process.holder}") is None


@pytest.mark.parametrize("scribble", [b"scribble", b"", b"1,\xff"])
async def test_a_delivery_that_was_written_by_hand_hides_no_other(
    engine: Engine, scribble: bytes
) -> None:
    process = await engine.process()
    await engine.publish("a")
    want = process.want(1)
    delivery = (await process.ask(want)).deliveries[0]
    await engine.redis.hset(f"rd:{{{QUEUE}}}:held:{process.holder}", "b", scribble)

    held = await process.broker.read_held(QUEUE, process.holder)
    repeated = await process.ask(want)

    assert [one.token for one in held] == [delivery.token]
    assert repeated.deliveries == [delivery]


async def test_leases_that_began_anew_are_told_of_though_the_reply_to_who_noticed_was_lost(
    engine: Engine,
) -> None:
    first, second = await engine.process(), await engine.process()
    engine.clock.move(minutes=10)
    await first.renew()
    engine.clock.move(seconds=4)
    await second.renew()

    (note,) = (await engine.keep_up()).graces

    assert note.grace == Grace(QUEUE, 2, timedelta(minutes=10))
    assert note.age == timedelta(seconds=4)


async def test_leases_that_begin_anew_once_more_leave_another_note(engine: Engine) -> None:
    await engine.process()
    engine.clock.move(minutes=10)
    (first,) = (await engine.keep_up()).graces
    (again,) = (await engine.keep_up()).graces
    engine.clock.move(hours=-3)
    (second,) = (await engine.keep_up()).graces

    assert first == again
    assert second.grace == Grace(QUEUE, 1, timedelta(hours=-3))
    assert second.mark != first.mark


async def test_there_is_no_note_while_no_lease_began_anew(engine: Engine) -> None:
    process = await engine.process()
    engine.clock.move(seconds=14)
    await process.renew()

    assert (await engine.keep_up()).graces == []


@pytest.mark.parametrize("scribble", [b"scribble", b"", b"1,\xff"])
async def test_a_note_that_was_written_by_hand_stops_nobody(
    engine: Engine, scribble: bytes
) -> None:
    await engine.process()
    await engine.redis.set(f"rd:{{{QUEUE}}}:grace", scribble, px=60_000)

    assert (await engine.keep_up()).graces == []


async def test_a_job_that_is_isolated_is_told_from_one_that_is_only_suspected(
    engine: Engine,
) -> None:
    await engine.publish("a")
    taken: list[TakenBack] = []
    for is_alone in (False, False, False, True, True):
        process = await engine.process()
        await (process.claim_solo() if is_alone else process.claim(1))
        taken += await engine.lose(process)

    assert taken == [
        TakenBack(QUEUE, "a", 1, is_dead=False),
        TakenBack(QUEUE, "a", 2, is_dead=False),
        TakenBack(QUEUE, "a", 3, is_dead=False, is_isolated=True),
        TakenBack(QUEUE, "a", 4, is_dead=False, is_isolated=True),
        TakenBack(QUEUE, "a", 5, is_dead=True),
    ]


async def test_after_an_outage_every_lease_begins_anew(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)

    engine.clock.move(minutes=10)

    assert await engine.upkeep() == []
    assert await process.renew() == 1
    assert (await engine.key("stats"))[b"graces"] == b"1"


@pytest.mark.parametrize(("away", "taken_after"), [(14, 30), (16, 16 + 30)])
async def test_a_pool_that_begins_more_than_half_a_lease_after_the_last_one_waits_a_whole_lease(
    engine: Engine, away: int, taken_after: int
) -> None:
    lost = await engine.process()
    await engine.publish("a")
    await lost.claim(1)

    engine.clock.move(seconds=away)
    heir = await engine.process()
    passed = away
    while await engine.upkeep() == [] and passed < 100:
        engine.clock.move(seconds=1)
        passed += 1
        await heir.renew()

    assert passed == taken_after


async def test_a_clock_set_back_does_not_keep_leases_alive_for_hours(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)

    engine.clock.move(hours=-3)
    await engine.upkeep()

    assert len(await engine.lose(process)) == 1


async def test_the_last_process_to_leave_takes_the_leases_with_it(engine: Engine) -> None:
    one, other = await engine.process(), await engine.process()
    await one.broker.depart({QUEUE: one.holder})
    with_other = await engine.key("leases")
    await other.broker.depart({QUEUE: other.holder})

    assert other.holder.encode() in with_other
    assert await engine.key("leases") is None
    assert await engine.redis.keys("*calls*") == []


async def test_a_process_that_holds_jobs_cannot_leave(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)

    await process.broker.depart({QUEUE: process.holder})

    assert process.holder.encode() in await engine.key("leases")


async def test_a_suspect_that_fails_or_is_given_back_stays_a_suspect(engine: Engine) -> None:
    await engine.publish("a")
    await kill_while_holding(engine, "a", alone=False)
    process = await engine.process()
    (delivery,) = await process.claim(1)
    await process.release(delivery)
    given_back = await engine.key("suspects")
    (delivery,) = await process.claim(1)
    await process.end(delivery, Retried(timedelta(seconds=1), AttemptError("no")))
    engine.clock.move(seconds=1)
    await process.ask(process.want(0))

    assert given_back == await engine.key("suspects") == [b"a"]
