"""What becomes of jobs that a release runs which knows of no levels, lines, slots, locks and flows.

Its pools are beside those of this release while they are replaced.
"""

from __future__ import annotations

import pytest

from redispatcher_fastapi.broker.types import Delivery
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.keys import queue_prefix
from tests.broker.engine import QUEUE, Engine, Process

PREFIX = queue_prefix(QUEUE)
TRACES = ("slots", "used", "locks", "uniques", "partitions", "levels", "flows", "cancelling")


async def run_by_earlier_release(engine: Engine, process: Process, delivery: Delivery) -> None:
    """End a job as the earlier release does, which wrote its record and nothing else."""
    finished = f"S{int(engine.clock.time.timestamp() * 1000)},5,5"
    await engine.redis.hdel(f"{PREFIX}held:{process.holder}", delivery.job_id)
    await engine.redis.hset(f"{PREFIX}jobs", delivery.job_id, finished)
    await engine.redis.rpush(f"{PREFIX}succeeded", delivery.job_id)


async def test_a_partition_goes_on_after_a_job_that_an_earlier_release_ended(
    engine: Engine,
) -> None:
    process = await engine.process("o")
    for job_id in "ab":
        await engine.submit(job_id, partition="tenant")
    await run_by_earlier_release(engine, process, await process.claim_one())
    assert await process.claim() == []

    await engine.upkeep()

    assert (await process.claim_one()).job_id == "b"


async def test_a_lock_is_free_after_a_job_that_an_earlier_release_ended(engine: Engine) -> None:
    process = await engine.process()
    await engine.submit("a", lock="d:k", lock_key="account")
    await run_by_earlier_release(engine, process, await process.claim_one())

    assert (await engine.submit("b", lock="d:k", lock_key="account")).is_new


async def test_what_follows_a_job_that_an_earlier_release_ended_is_passed_on(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.submit("a", continuation=b'{"v":1}')
    await run_by_earlier_release(engine, process, await process.claim_one())

    kept = await engine.keep_up()

    assert kept.onward == {QUEUE}
    assert await engine.key("onward") == {b"a": b'S{"v":1}\n'}
    await engine.redis.delete(f"{PREFIX}onward")


async def test_jobs_that_an_earlier_release_ended_leave_nothing_behind(engine: Engine) -> None:
    process = await engine.process("o")
    await engine.submit("a", partition="tenant", level="high", lock="d:k", lock_key="account")
    (delivery,) = await process.claim()
    await engine.broker.cancel_job(QUEUE, "a")
    await run_by_earlier_release(engine, process, delivery)

    await engine.upkeep()
    await engine.upkeep()

    assert {trace: await engine.key(trace) for trace in TRACES} == dict.fromkeys(TRACES)
    assert await engine.key("special") is None
    assert await engine.state("a") is JobState.SUCCEEDED


@pytest.mark.parametrize("place", ["ready", "suspects"])
async def test_a_job_that_an_earlier_release_put_beside_its_line_waits_there(
    engine: Engine, place: str
) -> None:
    process = await engine.process("k1")
    for job_id in "ab":
        await engine.submit(job_id, partition="tenant")
    await process.retry(await process.claim_one(), after=1)
    running = await process.claim_one()
    engine.clock.move(seconds=1)
    await engine.redis.zrem(f"{PREFIX}retrying", "a")
    await engine.redis.rpush(f"{PREFIX}{place}", "a")
    if place == "suspects":
        await engine.redis.hset(f"{PREFIX}faults", "a", "1,1,0")

    assert await process.claim() == []
    await process.succeed(running)

    assert (await process.claim_one()).job_id == "a"
