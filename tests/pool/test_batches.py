"""How a running pool makes up batches, in memory and on a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    ConsumerConfig,
    ConsumerPool,
    Job,
    JobState,
    RedispatcherConfig,
)
from tests.pool.batches import (
    LONG,
    Gate,
    Items,
    Letters,
    Quick,
    forget_batches,
    one,
    publish,
    read,
    wait_for,
)
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def forget() -> None:
    forget_batches()


async def test_a_batch_runs_as_soon_as_it_is_full(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Letters) as running:
        jobs = await publish(running, "a", "b", "c")

        assert [await job.result(PATIENCE) for job in jobs] == [None] * 3

    assert Letters.seen == [["a", "b", "c"]]


async def test_a_batch_gathers_what_comes_one_by_one(redis_dsn: str) -> None:
    jobs: list[Job[Any]] = []
    async with running_pool(redis_dsn, Letters) as running:
        for text in "abc":
            jobs += await publish(running, text)
            if text != "c":
                await wait_for(jobs[-1], JobState.RUNNING)
        await jobs[-1].result(PATIENCE)

    assert Letters.seen == [["a", "b", "c"]]


async def test_a_batch_that_is_not_full_runs_when_it_has_lingered(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Quick) as running:
        jobs = await publish(running, "a", "b", to=Quick)
        for job in jobs:
            await job.result(PATIENCE)

    assert list(chain(*Letters.seen)) == ["a", "b"]


async def test_without_linger_a_batch_is_what_one_claim_brought(redis_dsn: str) -> None:
    class Hasty(Letters):
        QUEUE = "hasty"
        BATCH = Batch(size=10, linger=timedelta())

    async with running_pool(redis_dsn, one(Hasty)) as running:
        Letters.handle = gate = Gate()
        await publish(running, "first", to=Hasty)
        await wait_until(lambda: gate.waiting == 1)
        jobs = await publish(running, *"abcd", to=Hasty)
        gate.is_open.set()
        for job in jobs:
            await job.result(PATIENCE)

    assert Letters.seen == [["first"], ["a", "b", "c", "d"]]


async def test_a_synchronous_handler_runs_in_a_thread(redis_dsn: str) -> None:
    class Threaded(BatchConsumer):
        QUEUE = "threaded"
        BATCH = Batch(size=2, linger=LONG)

        class Message(BatchConsumer.Message):
            pass

        def process_batch(self, items: Sequence[BatchItem[Message, str]]) -> None:
            for item in items:
                item.succeed(threading.current_thread().name)

    async with running_pool(redis_dsn, Threaded) as running:
        jobs = await running.publisher(Threaded).publish_many([Threaded.Message()] * 2)
        names = {await job.result(PATIENCE) for job in jobs}

    assert len(names) == 1
    assert names != {threading.current_thread().name}


async def test_no_more_batches_run_at_once_than_was_configured(redis_dsn: str) -> None:
    Letters.handle = gate = Gate()
    two = ConsumerConfig(consumer_class=Letters, count=2)
    async with running_pool(redis_dsn, two) as running:
        jobs = await publish(running, *"abcdefghijkl")
        await wait_until(lambda: gate.waiting == 2)
        counts = await running.broker.count_jobs("letters")
        gate.is_open.set()
        for job in jobs:
            await job.result(PATIENCE)

    # What could not begin was left to others.
    assert (counts[JobState.RUNNING], counts[JobState.QUEUED]) == (6, 6)
    assert gate.most == 2
    assert [len(texts) for texts in Letters.seen] == [3] * 4


async def test_batches_that_are_not_full_take_up_room_for_full_ones(redis_dsn: str) -> None:
    Letters.handle = gate = Gate()
    async with running_pool(redis_dsn, ConsumerConfig(consumer_class=Quick, count=2)) as running:
        await publish(running, "a", to=Quick)
        await wait_until(lambda: gate.waiting == 1)
        await publish(running, "b", to=Quick)
        await wait_until(lambda: gate.waiting == 2)
        jobs = await publish(running, *"cde", to=Quick)
        counts = await running.broker.count_jobs("quick")

        gate.is_open.set()

        for job in jobs:
            await job.result(timedelta(seconds=3))  # it claims again at once
    assert (counts[JobState.RUNNING], counts[JobState.QUEUED]) == (2, 3)


async def test_other_consumers_do_not_wait_while_a_batch_gathers(redis_dsn: str) -> None:
    class Other(BaseConsumer):
        QUEUE = "other"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> str:
            return "at once"

    async with running_pool(redis_dsn, Letters, Other) as running:
        (gathering,) = await publish(running, "a")
        await wait_for(gathering, JobState.RUNNING)

        assert await running.perform(Other.Message()) == "at once"

    assert Letters.seen == []


async def test_what_gathers_when_the_pool_stops_is_given_back_uncharged(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Letters) as running:
        first, second = await publish(running, "a", "b")
        await wait_until(lambda: running.pool.running == 2)
        health = running.pool.health

        await asyncio.wait_for(running.pool.stop(), 5)
        records = [await read(first), await read(second)]

    assert [(each.state, each.attempts, each.losses) for each in records] == [
        (JobState.QUEUED, 0, 0)
    ] * 2
    assert Letters.seen == []
    assert (health.running, health.queues[0].running, health.queues[0].slots) == (2, 2, 30)


async def test_what_gathers_when_the_pool_drains_is_given_back_and_what_runs_goes_on(
    redis_dsn: str,
) -> None:
    Letters.handle = gate = Gate()
    async with running_pool(redis_dsn, Letters) as running:
        full = await publish(running, *"abc")
        await wait_until(lambda: gate.waiting == 1)
        (gathering,) = await publish(running, "d")
        await wait_for(gathering, JobState.RUNNING)

        drain = asyncio.create_task(running.pool.drain())

        await wait_for(gathering, JobState.QUEUED)
        gate.is_open.set()
        await drain
        assert [await job.state() for job in full] == [JobState.SUCCEEDED] * 3
    assert Letters.seen == [["a", "b", "c"]]


async def test_what_was_said_when_the_pool_stops_stands_and_the_rest_is_given_back(
    redis_dsn: str,
) -> None:
    started = asyncio.Event()

    async def hang(items: Items) -> None:
        items[0].succeed("done")
        items[1].reject("bad")
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # one more cancellation would end up here
            clean.set()

    clean = asyncio.Event()
    Letters.handle = hang
    async with running_pool(redis_dsn, Letters, grace_period=timedelta()) as running:
        done, bad, rest = await publish(running, *"abc")
        await started.wait()
        await running.pool.stop()

        assert await done.result(PATIENCE) == "done"
        assert (await read(bad)).reason == "rejected"
        record = await read(rest)

    assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)
    assert clean.is_set()
    assert running.pool.running == 0


async def test_a_burst_does_not_linger_for_what_will_not_come(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Quick) as running:  # only to publish
        jobs = await publish(running, *"abcde")
        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[one(Letters)])
        pool = ConsumerPool(config, broker=running.broker)

        await asyncio.wait_for(pool.run(burst=True), 20)

        assert [await job.state() for job in jobs] == [JobState.SUCCEEDED] * 5
    assert [len(texts) for texts in Letters.seen] == [3, 2]


async def suspect(running: RunningPool, jobs: Sequence[Job[Any]], faults: str, place: str) -> None:
    """Leave jobs that are scheduled as losses do."""
    prefix = f"rd:{{{jobs[0].queue}}}:"
    redis: Any = running.broker.connections.publisher
    async with redis.pipeline() as pipe:
        for job in jobs:
            pipe.zrem(f"{prefix}scheduled", job.id)
            pipe.hset(f"{prefix}faults", job.id, faults)
            pipe.rpush(f"{prefix}{place}", job.id)
        pipe.lpush(f"{prefix}wake", "1")
        await pipe.execute()


@pytest.mark.parametrize("count", [1, 4])
async def test_a_job_that_was_lost_runs_in_a_batch_of_its_own(redis_dsn: str, count: int) -> None:
    letters = ConsumerConfig(consumer_class=Letters, count=count)
    async with running_pool(redis_dsn, letters) as running:
        publisher = running.publisher(Letters)
        lost = await publisher.publish_many(
            [Letters.Message(text=text) for text in "xyz"], delay=timedelta(hours=1)
        )
        await suspect(running, lost, "0,1,0", "suspects")
        jobs = await publish(running, *"abcdef")
        for job in [*lost, *jobs]:
            await job.result(PATIENCE)

    alone = [texts for texts in Letters.seen if set(texts) & set("xyz")]
    assert sorted(alone) == [["x"], ["y"], ["z"]]
    assert sorted(chain(*Letters.seen)) == sorted("xyzabcdef")


async def test_what_was_claimed_beside_a_lost_job_is_given_back_if_it_could_only_wait(
    redis_dsn: str,
) -> None:
    Letters.handle = gate = Gate()
    async with running_pool(redis_dsn, Quick) as running:  # only to publish
        publisher = running.publisher(Letters)
        lost = await publisher.publish_many([Letters.Message(text="x")], delay=timedelta(hours=1))
        await suspect(running, lost, "0,1,0", "suspects")
        jobs = await publish(running, *"abc")
        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[one(Letters)])
        pool = ConsumerPool(config, broker=running.broker)
        task = asyncio.create_task(pool.run())
        await wait_until(lambda: gate.waiting == 1)

        await wait_for(jobs[0], JobState.QUEUED)
        counts = await running.broker.count_jobs("letters")
        gate.is_open.set()
        for job in [*lost, *jobs]:
            await job.result(PATIENCE)
        await pool.stop()
        await task

    assert (counts[JobState.RUNNING], counts[JobState.QUEUED]) == (1, 3)
    assert Letters.seen == [["x"], ["a", "b", "c"]]


async def test_an_isolated_job_runs_in_a_batch_of_its_own(redis_dsn: str) -> None:
    hooks = RecordingHooks()
    async with running_pool(redis_dsn, Quick, hooks=hooks) as running:
        publisher = running.publisher(Quick)
        lost = await publisher.publish_many([Letters.Message(text="x")], delay=timedelta(hours=1))
        await suspect(running, lost, "0,3,0", "solo")
        jobs = await publish(running, *"ab", to=Quick)
        for job in [*lost, *jobs]:
            await job.result(PATIENCE)

    assert hooks.solo_runs == [lost[0].id]
    assert ["x"] in Letters.seen
