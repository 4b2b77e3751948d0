"""Pools that are told to stop."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi import Job, JobState, Redispatcher
from tests.reliability.jobs import Quick, Slow, Stubborn, Threaded, Timed
from tests.reliability.looking import read_record, read_states, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import PoolProcess, Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

#: Nothing comes back by the end of a lease here, only by being handed back.
LEASE = timedelta(seconds=60)


async def test_sigterm_finishes_what_fits_and_hands_back_the_rest_uncharged(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    grace = timedelta(seconds=1)
    pool = await pools.start(server.dsn, Slow, Quick, lease=LEASE, grace=grace)
    fitting = await publish_slow(dispatcher, seconds=0.8)
    endless = await publish_slow(dispatcher, seconds=60, only_in=pool)
    await oracle.wait_for("started", count=2)

    pool.terminate()
    await pool.wait_for_log("Stopping: no new jobs")
    late = await dispatcher.publisher(Quick).publish_many([Quick.Message()] * 5)

    assert await pool.wait() == 0
    assert await fitting.result(PATIENCE) == pool.pid
    assert await endless.state() is JobState.QUEUED
    assert await read_states(late) == {JobState.QUEUED}
    heir = await pools.start(server.dsn, Slow, Quick, lease=LEASE)
    assert await endless.result(PATIENCE) == heir.pid
    assert {await job.result(PATIENCE) for job in late} == {heir.pid}
    assert len(oracle.entries("started", fitting.id)) == 1
    assert [entry.attempt for entry in oracle.entries("started", endless.id)] == [1, 1]
    record = await read_record(endless)
    assert (record.attempts, record.losses, record.history) == (1, 0, ())


async def test_a_job_that_was_handed_back_runs_elsewhere_at_once(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Slow, lease=LEASE, grace=timedelta())
    jobs = [await publish_slow(dispatcher, seconds=60, only_in=pool) for _ in range(5)]
    await oracle.wait_for("started", count=5)
    heir = await pools.start(server.dsn, Slow, lease=LEASE)

    pool.terminate()

    assert {await job.result(PATIENCE) for job in jobs} == {heir.pid}
    for job in jobs:
        (cancelled,) = oracle.entries("cancelled", job.id)
        (start,) = oracle.entries("started", job.id, pid=heir.pid)
        assert start.at - cancelled.at <= 1
    assert await pool.wait() == 0


async def test_control_without_handing_back_a_job_waits_for_the_end_of_the_lease(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    lease = timedelta(seconds=1.5)
    pool = await pools.start(server.dsn, Slow, lease=lease, grace=timedelta(), without="release")
    job = await publish_slow(dispatcher, seconds=60, only_in=pool)
    await oracle.wait_for("started", job.id)
    heir = await pools.start(server.dsn, Slow, lease=lease)

    pool.terminate()

    (start,) = await oracle.wait_for("started", job.id, pid=heir.pid)
    (cancelled,) = oracle.entries("cancelled", job.id)
    assert start.at - cancelled.at >= lease.total_seconds() / 2
    assert await job.result(PATIENCE) == heir.pid
    assert (await read_record(job)).losses == 1


async def test_a_pool_that_is_killed_while_it_drains_loses_nothing(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Slow, Quick, lease=timedelta(seconds=1))
    done = await publish_slow(dispatcher, seconds=0.5)
    lost = await publish_slow(dispatcher, seconds=600, only_in=pool)
    await oracle.wait_for("started", count=2)

    pool.drain()
    await pool.wait_for_log("Draining: no new jobs")
    late = await dispatcher.publisher(Quick).publish_many([Quick.Message()] * 5)
    assert await done.result(PATIENCE) == pool.pid
    assert await read_states(late) == {JobState.QUEUED}
    pool.kill()

    heir = await pools.start(server.dsn, Slow, Quick, lease=timedelta(seconds=1))
    assert await lost.result(PATIENCE) == heir.pid
    assert {await job.result(PATIENCE) for job in late} == {heir.pid}
    assert (await read_record(lost)).losses == 1


async def test_a_second_sigterm_stops_at_once(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Slow, lease=LEASE, grace=timedelta(minutes=10))
    job = await publish_slow(dispatcher, seconds=600)
    await oracle.wait_for("started", job.id)
    pool.terminate()
    await pool.wait_for_log("Stopping: no new jobs")
    assert pool.is_alive

    pool.terminate()

    assert await pool.wait(timeout=timedelta(seconds=5)) == 0
    record = await read_record(job)
    assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)


@pytest.mark.parametrize("consumer", [Threaded, Stubborn])
async def test_a_job_that_nothing_can_stop_does_not_keep_the_process(
    consumer: type[Threaded | Stubborn],
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
) -> None:
    pool = await pools.start(server.dsn, consumer, lease=LEASE, grace=timedelta(seconds=0.2))
    job: Job[int] | Job[None]
    if consumer is Threaded:
        job = await dispatcher.publisher(Threaded).publish(Timed.Message(seconds=600))
    else:
        job = await dispatcher.publisher(Stubborn).publish(Stubborn.Message())
    await oracle.wait_for("started", job.id)

    pool.terminate()

    # The grace period, three seconds to unwind, and some more for a slow machine.
    assert await pool.wait(timeout=timedelta(seconds=10)) == 0
    record = await read_record(job)
    assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)


async def test_a_pool_that_waits_for_redis_can_be_stopped(
    server: RedisServer, pools: Pools
) -> None:
    pool = pools.begin("redis://127.0.0.1:1/0", Quick)
    await pool.wait_for_log("Redis cannot be reached, trying again")

    pool.terminate()

    assert await pool.wait(timeout=timedelta(seconds=5)) == 0


async def test_a_deployment_repeats_and_loses_nothing(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    jobs = await dispatcher.publisher(Slow).publish_many([Timed.Message(seconds=0.1)] * 200)
    processes = list(await pools.start_two(server.dsn, Slow, lease=LEASE))
    for _ in range(2):
        old = processes.pop(0)
        await oracle.wait_for("started", pid=old.pid, count=20)
        old.terminate()
        processes.append(pools.begin(server.dsn, Slow, lease=LEASE))
        assert await old.wait() == 0
    for job in jobs:
        await wait_for_state(job, JobState.SUCCEEDED)

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {1}


async def publish_slow(
    dispatcher: Redispatcher, *, seconds: float, only_in: PoolProcess | None = None
) -> Job[int]:
    pid = only_in.pid if only_in else None
    return await dispatcher.publisher(Slow).publish(Timed.Message(seconds=seconds, only_in=pid))
