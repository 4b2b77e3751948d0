"""Claiming: in order, exactly as many as wanted, repeatable."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from redispatcher_fastapi.broker.types import Submission, Want
from redispatcher_fastapi.job import JobState
from tests.broker.engine import ENVELOPE, LEASE, QUEUE, START, Engine


async def test_jobs_are_claimed_in_the_order_they_were_published(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abcde")

    first, rest = await process.claim(2), await process.claim(9)

    assert [delivery.job_id for delivery in first] == ["a", "b"]
    assert [delivery.job_id for delivery in rest] == ["c", "d", "e"]
    assert await engine.counts() == {JobState.RUNNING: 5}


async def test_a_delivery_carries_what_a_run_needs(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("a")

    delivery = await process.claim_one()

    assert delivery.envelope == ENVELOPE
    assert delivery.published_at == START
    assert (delivery.attempt, delivery.losses) == (1, 0)


async def test_two_processes_never_get_the_same_job(engine: Engine) -> None:
    one, other = await engine.process(), await engine.process()
    await engine.publish_many(*"abcdef")

    claimed = [*await one.claim(3), *await other.claim(3)]

    assert sorted(delivery.job_id for delivery in claimed) == list("abcdef")


async def test_a_claim_whose_reply_was_lost_is_repeated_with_the_same_jobs(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abc")
    want = process.want(2)
    lost = await process.ask(want)

    repeated = await process.ask(want)

    assert repeated.deliveries == lost.deliveries
    assert await engine.key("ready") == [b"c"]


async def test_a_claim_that_arrives_after_its_successor_takes_nothing(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many(*"abc")
    late, next_one = process.want(1), process.want(1)
    await process.ask(next_one)

    assert (await process.ask(late)).deliveries == []
    assert await engine.counts() == {JobState.QUEUED: 2, JobState.RUNNING: 1}


async def test_a_process_without_a_lease_gets_nothing(engine: Engine) -> None:
    process = await engine.process()
    await engine.redis.delete(f"rd:{{{QUEUE}}}:leases")
    await engine.publish("a")

    claimed = await process.ask(process.want(1))

    assert (claimed.deliveries, claimed.unleased) == ([], {QUEUE})


async def test_a_claim_tells_when_the_next_job_falls_due(engine: Engine) -> None:
    process = await engine.process()
    nothing = await process.ask(process.want(1))
    await engine.publish("later", delay=timedelta(seconds=90))
    await engine.publish("sooner", delay=timedelta(milliseconds=2500))

    something = await process.ask(process.want(1))

    assert nothing.wait is None
    assert something.wait == timedelta(milliseconds=2500)


async def test_a_full_process_still_lets_due_jobs_on_and_wakes_another(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("due", delay=timedelta(seconds=1))
    await engine.redis.delete(f"rd:{{{QUEUE}}}:wake")
    engine.clock.move(seconds=1)

    await process.ask(process.want(0))

    assert await engine.key("ready") == [b"due"]
    assert await engine.key("wake") == [b"1"]


async def test_what_a_claim_leaves_behind_wakes_another_process(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    await engine.redis.delete(f"rd:{{{QUEUE}}}:wake")

    await process.claim(1)
    with_rest = await engine.key("wake")
    await process.claim(1)

    assert (with_rest, await engine.key("wake")) == ([b"1"], None)


async def test_many_due_jobs_are_let_on_in_bounded_pieces(engine: Engine) -> None:
    process = await engine.process()
    for start in range(0, 600, 100):
        for index in range(start, start + 100):
            await engine.publish(f"job-{index:03}", delay=timedelta(seconds=1))
    engine.clock.move(seconds=1)

    first = await process.ask(process.want(0))
    after_first = await engine.counts()
    await process.ask(process.want(0))

    assert first.wait == timedelta(0)
    assert after_first == {JobState.QUEUED: 500, JobState.SCHEDULED: 100}
    assert await engine.counts() == {JobState.QUEUED: 600}


async def test_a_record_changed_by_hand_is_delivered_to_be_parked(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b")
    await engine.redis.hset(f"rd:{{{QUEUE}}}:jobs", "a", "{scribble")

    broken, sound = await process.claim(2)

    assert (broken.envelope, broken.published_at) == (b"{scribble", None)
    assert sound.envelope == ENVELOPE


async def test_ids_without_a_record_are_passed_over(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("a", "b", "c")
    await engine.redis.hdel(f"rd:{{{QUEUE}}}:jobs", "a", "b")

    assert [delivery.job_id for delivery in await process.claim(1)] == ["c"]


async def test_a_claim_over_several_queues_is_one_call(engine: Engine) -> None:
    process = await engine.process()
    await process.broker.renew({"other": process.holder})
    await engine.publish("a")
    await engine.sender.send("other", Submission("b", ENVELOPE))

    wants = [Want(QUEUE, process.holder, 1, 1), Want("other", process.holder, 1, 2)]
    claimed = await process.broker.claim(wants)

    found = [
        (delivery.queue, delivery.job_id, delivery.sequence) for delivery in claimed.deliveries
    ]
    assert found == [(QUEUE, "a", 1), ("other", "b", 2)]


async def test_a_call_takes_500_jobs_of_all_queues_together_and_leaves_tokens_for_the_rest(
    engine: Engine,
) -> None:
    process = await engine.process()
    queues = [QUEUE, "second", "third"]
    for queue in queues:
        await process.broker.renew({queue: process.holder})
        submissions = [Submission(f"{queue}-{number}", ENVELOPE) for number in range(300)]
        await engine.sender.send_many(queue, submissions)

    wants = [Want(queue, process.holder, 300, 1000 * at) for at, queue in enumerate(queues, 1)]
    claimed = await process.broker.claim(wants)

    assert Counter(delivery.queue for delivery in claimed.deliveries) == {QUEUE: 300, "second": 200}
    tokens = [await engine.redis.llen(f"rd:{{{queue}}}:wake") for queue in queues]
    assert tokens == [0, 1, 1]


async def test_a_lease_is_as_long_as_configured(engine: Engine) -> None:
    process = await engine.process()

    next_end = (await process.broker.upkeep([QUEUE])).next_end

    assert next_end == LEASE


async def test_a_claim_ends_at_a_megabyte_and_leaves_a_token_for_the_rest(engine: Engine) -> None:
    process = await engine.process()
    large = b'{"v":1,"body":{"text":"' + b"x" * 100_000 + b'"}}'
    submissions = [Submission(f"job-{number}", large) for number in range(40)]
    await engine.sender.send_many(QUEUE, submissions)

    claims = [await process.claim(100) for _ in range(3)]

    assert [len(claim) for claim in claims] == [16, 16, 8]
    assert await engine.key("wake") is None


async def test_a_suspect_that_was_cancelled_leaves_nothing_behind(engine: Engine) -> None:
    lost, other = await engine.process(), await engine.process()
    await engine.publish("a")
    await lost.claim(1)
    await engine.lose(lost)
    await engine.broker.cancel_job(QUEUE, "a")

    assert await other.claim(5) == []

    assert await engine.key("suspects") is None
    assert await engine.key("ghosts") is None


async def test_a_process_that_may_take_no_suspect_leaves_their_token_to_others(
    engine: Engine,
) -> None:
    lost, other = await engine.process(), await engine.process()
    await engine.publish("a")
    await lost.claim(1)
    await engine.lose(lost)

    assert await other.claim(5, suspects=0) == []

    assert await engine.key("wake") == [b"1"]
