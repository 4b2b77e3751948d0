"""Locks and priorities while processes and Redis are killed: nothing is stuck or runs twice."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from redispatcher_fastapi import (
    Disposition,
    JobState,
    OnConflict,
    Priority,
    Redispatcher,
    RedispatcherConfig,
    Unique,
)
from tests.leaks import find_leaks
from tests.reliability.jobs import Killer, Slow
from tests.reliability.looking import wait_for_count, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ONCE = Unique(fields=("seconds",))


async def test_the_lock_of_a_job_outlives_the_process_that_runs_it_and_goes_with_the_job(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Slow)
    doomed = await pools.start(server.dsn, Slow)
    message = Slow.Message(seconds=60, only_in=doomed.pid)
    job = await publisher.publish(message, unique=ONCE)
    await oracle.wait_for("started", job.id, pid=doomed.pid)

    doomed.kill()
    while_lost = await publisher.publish(message, unique=ONCE)
    heir = await pools.start(server.dsn, Slow)
    await oracle.wait_for("started", job.id, pid=heir.pid)
    await wait_for_state(job, JobState.SUCCEEDED)
    afterwards = await publisher.publish(message, unique=ONCE)
    await wait_for_state(afterwards, JobState.SUCCEEDED)

    assert (while_lost.id, while_lost.disposition) == (job.id, Disposition.EXISTING)
    assert afterwards.created
    with server.client() as client:
        assert not client.execute_command("EXISTS", "rd:{slow}:uniques", "rd:{slow}:locks")
        assert find_leaks(client) == []


@pytest.mark.long
async def test_a_job_that_dies_of_killing_processes_frees_its_lock(
    server: RedisServer, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Killer)
    message = Killer.Message(seconds=0, how="exit")
    job = await publisher.publish(message, unique=ONCE)

    async with pools.supervised(server.dsn, Killer):
        await wait_for_state(job, JobState.DEAD)
        innocent = Killer.Message(seconds=0, how="innocent")
        afterwards = await publisher.publish(innocent, unique=ONCE)
        await wait_for_state(afterwards, JobState.SUCCEEDED)

    assert afterwards.created


async def test_a_lock_outlives_a_redis_that_is_killed(
    redis_servers: RedisServers, oracle: Oracle, pools: Pools
) -> None:
    server = redis_servers.start(is_durable=True)
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
    async with dispatcher.lifespan():
        publisher = dispatcher.publisher(Slow)
        message = Slow.Message(seconds=0.2)
        job = await publisher.publish(message, unique=ONCE, priority=Priority.HIGH)

        server.kill()
        server.start()
        afterwards = await publisher.publish(message, unique=ONCE)
        await pools.start(server.dsn, Slow)
        await wait_for_state(job, JobState.SUCCEEDED)
        later = await publisher.publish(message, unique=ONCE)

    assert (afterwards.id, afterwards.created) == (job.id, False)
    assert later.created
    assert len(oracle.entries("started", job.id)) == 1


PROGRAM = """
import asyncio, sys
from datetime import timedelta
from redispatcher_fastapi import Redispatcher, RedispatcherConfig
from tests.reliability.jobs import Slow
from tests.reliability.oracle import note
from tests.reliability.test_unique_jobs import ONCE

async def main() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(publish_timeout=timedelta(seconds=30)))
    async with dispatcher.lifespan():
        publisher = dispatcher.publisher(Slow)
        note("publishing")
        await asyncio.to_thread(sys.stdin.read)
        for number in range(5):
            jobs = await asyncio.gather(
                *(publisher.publish(Slow.Message(seconds=number), unique=ONCE) for _ in range(200))
            )
            print(number, sum(job.created for job in jobs), *{job.id for job in jobs})

asyncio.run(main())
"""


async def test_processes_that_publish_the_same_a_thousand_times_make_one_job(
    server: RedisServer, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDISPATCHER_REDIS_DSN": server.dsn,
    }
    publishers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM), env=environment, stdin=PIPE, stdout=PIPE
        )
        for _ in range(2)
    ]
    await oracle.wait_for("publishing", count=2)
    # Their input ends, and both begin.
    outputs = await asyncio.gather(*(each.communicate(b"") for each in publishers))

    created = [0] * 5
    ids: list[set[str]] = [set() for _ in range(5)]
    for line in b"".join(output for output, _ in outputs).decode().splitlines():
        number, count, *found = line.split()
        created[int(number)] += int(count)
        ids[int(number)].update(found)
    assert [each.returncode for each in publishers] == [0, 0]
    assert created == [1] * 5
    assert [len(each) for each in ids] == [1] * 5
    assert (await dispatcher.inspector.counts(Slow))[JobState.QUEUED] == 5


@pytest.mark.long
async def test_no_job_whose_message_is_replaced_is_lost_while_pools_are_killed(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    latest = Unique(fields=("only_in",), on_conflict=OnConflict.REPLACE)
    publisher = dispatcher.publisher(Slow)
    processes = list(await pools.start_two(server.dsn, Slow))
    created: list[str] = []

    for kill in range(2):
        for number in range(60):
            message = Slow.Message(seconds=0.05, only_in=number % 5)
            job = await publisher.publish(message, unique=latest)
            created += [job.id] if job.created else []
        processes.pop(0).kill()
        processes.append(pools.begin(server.dsn, Slow))
        await oracle.wait_for("ready", count=3 + kill)
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(created))

    assert {entry.job_id for entry in oracle.entries("finished")} == set(created)
    with server.client() as client:
        assert not client.execute_command("EXISTS", "rd:{slow}:uniques", "rd:{slow}:locks")
        assert find_leaks(client) == []


async def test_priorities_hold_across_a_kill(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Slow)
    doomed = await pools.start(server.dsn, Slow)
    stuck = Slow.Message(seconds=60, only_in=doomed.pid)
    first = [await publisher.publish(stuck, priority=Priority.HIGH) for _ in range(10)]
    await oracle.wait_for("started", pid=doomed.pid, count=10)
    low = await publisher.publish_many([Slow.Message()] * 100, priority=Priority.LOW)
    high = await publisher.publish_many([Slow.Message()] * 20, priority=Priority.HIGH)

    doomed.kill()
    # Until the lease ends, nobody knows that the ten are lost.
    await wait_until(lambda: not doomed.is_alive, timeout=PATIENCE)
    heir = await pools.start(server.dsn, Slow)
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, 130)

    order = [entry.job_id for entry in oracle.entries("started", pid=heir.pid)]
    lost = {job.id for job in first}
    assert set(order) == {job.id for job in (*first, *low, *high)}
    fresh = [job_id for job_id in order if job_id not in lost]
    assert set(fresh[:20]) == {job.id for job in high}
