"""Batches whose process is killed or frozen, and batches with a killer in them."""

from __future__ import annotations

import pytest

from redispatcher_fastapi import JobState, Redispatcher
from tests.reliability.jobs import Batched
from tests.reliability.looking import read_record, read_states, wait_for_count
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]


async def test_the_jobs_of_a_killed_batch_run_once_more_each_in_a_batch_of_its_own(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    doomed = await pools.start(server.dsn, Batched)
    message = Batched.Message(seconds=60, only_in=doomed.pid)
    jobs = await dispatcher.publisher(Batched).publish_many([message] * 20)
    await oracle.wait_for("started", pid=doomed.pid, count=20)
    heir = await pools.start(server.dsn, Batched)

    doomed.kill()

    assert {await job.result(PATIENCE) for job in jobs} == {heir.pid}
    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {2}
    assert len(oracle.entries("together", pid=doomed.pid)) == 20
    assert len(oracle.entries("alone", pid=heir.pid)) == 20
    assert {(await read_record(job)).losses for job in jobs} == {1}


async def test_a_killer_takes_the_others_of_its_batch_with_it_once(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Batched)
    (killer,) = await publisher.publish_many([Batched.Message(is_killer=True)])
    innocents = await publisher.publish_many([Batched.Message()] * 9)

    async with pools.supervised(server.dsn, Batched) as processes:
        await wait_for_count(dispatcher, Batched, JobState.SUCCEEDED, len(innocents))

    starts = oracle.entries("started", pid=processes[0].pid)
    assert {entry.job_id for entry in starts} == {job.id for job in (killer, *innocents)}
    assert len(oracle.entries("together", killer.id)) == 1
    assert await read_states(innocents) == {JobState.SUCCEEDED}
    again = [each.job_id for each in oracle.entries("alone") if each.job_id != killer.id]
    assert sorted(again) == sorted(job.id for job in innocents)


async def test_a_zombie_cancels_the_batch_that_others_run_now_and_takes_new_ones(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    zombie = await pools.start(server.dsn, Batched)
    message = Batched.Message(seconds=60, only_in=zombie.pid)
    jobs = await dispatcher.publisher(Batched).publish_many([message] * 10)
    await oracle.wait_for("started", pid=zombie.pid, count=10)
    zombie.pause()
    heir = await pools.start(server.dsn, Batched)
    assert {await job.result(PATIENCE) for job in jobs} == {heir.pid}

    zombie.resume()

    await oracle.wait_for("cancelled", pid=zombie.pid, count=10)
    await zombie.wait_for_log("This process was given up on queue batched")
    assert oracle.entries("finished", pid=zombie.pid) == []
    assert zombie.events("job.refused") == []  # nothing was written that others had to refuse
    again = await dispatcher.publisher(Batched).publish_many([Batched.Message()] * 40)
    await wait_for_count(dispatcher, Batched, JobState.SUCCEEDED, len(jobs) + len(again))
