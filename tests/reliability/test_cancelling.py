"""Cancelling what processes run: how soon they hear of it, and what if they never do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BrokerError,
    ConsumerConfig,
    Job,
    JobCancelledError,
    JobState,
    Publisher,
    Redispatcher,
)
from tests.leaks import find_leaks
from tests.pool.running import running_pool
from tests.reliability.jobs import Quick, Slow
from tests.reliability.looking import read_record, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import LEASE, Pools
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SECOND = timedelta(seconds=1)
LONG = Slow.Message(seconds=600)


async def test_it_is_heard_of_within_a_second_by_idle_full_and_busy_processes(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await pools.start_two(server.dsn, Slow, Quick)
    publisher = dispatcher.publisher(Slow)

    idle = await cancel_each(oracle, await publisher.publish_many([LONG] * 10))
    # Every slot is taken, and there is a backlog: what ends makes room for the next.
    jobs = await publisher.publish_many([LONG] * 60)
    full = await cancel_each(oracle, jobs[:40])
    async with traffic(dispatcher.publisher(Quick)):
        busy = await cancel_each(oracle, jobs[40:])

    longest = {"idle": max(idle), "full": max(full), "busy": max(busy)}
    assert {name: seconds for name, seconds in longest.items() if seconds >= 1} == {}
    with server.client() as client:
        assert find_leaks(client) == []


async def test_a_job_of_a_killed_process_is_cancelled_and_not_run_again(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    doomed = await pools.start(server.dsn, Slow)
    cancelled, other = await dispatcher.publisher(Slow).publish_many(
        [LONG, Slow.Message(seconds=600, only_in=doomed.pid)]
    )
    await oracle.wait_for("started", pid=doomed.pid, count=2)
    heir = await pools.start(server.dsn, Slow)

    doomed.pause()  # it never hears of it
    assert await cancelled.cancel()
    doomed.kill()
    await wait_for_state(cancelled, JobState.CANCELLED, timeout=LEASE + 4 * SECOND)
    await wait_for_state(other, JobState.SUCCEEDED)

    record = await read_record(cancelled)
    assert (record.losses, [attempt.outcome for attempt in record.history]) == (1, ["lost"])
    assert len(oracle.entries("started", cancelled.id)) == 1
    assert any("somebody had cancelled it" in line for line in heir.log.splitlines())
    with server.client() as client:
        assert find_leaks(client) == []


@pytest.mark.long
async def test_a_frozen_process_finds_its_job_cancelled_and_cannot_end_it_otherwise(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    frozen = await pools.start(server.dsn, Slow)
    job = await dispatcher.publisher(Slow).publish(LONG)
    await oracle.wait_for("started", job.id)
    await pools.start(server.dsn, Slow)

    frozen.pause()
    assert await job.cancel()
    await wait_for_state(job, JobState.CANCELLED)
    frozen.resume()

    await oracle.wait_for("cancelled", job.id, pid=frozen.pid)
    assert await job.state() is JobState.CANCELLED


async def test_a_hundred_calls_around_a_restart_of_redis_leave_nothing_behind(
    redis_servers: RedisServers, oracle: Oracle
) -> None:
    server = redis_servers.start(is_durable=True)
    consumers = ConsumerConfig(consumer_class=Slow, count=100)
    async with running_pool(server.dsn, consumers, lease=5 * SECOND) as running:
        jobs = await running.publisher(Slow).publish_many([LONG] * 100)
        await oracle.wait_for("started", count=100)

        async with asyncio.TaskGroup() as tasks:
            for job in jobs:
                tasks.create_task(cancel_at_some_time(job, within=2.0))
            await asyncio.sleep(1)  # half of the calls are made before
            server.kill()
            await asyncio.sleep(0.2)
            server.start()
        for job in jobs:
            with pytest.raises(JobCancelledError):
                await job.result(PATIENCE)

    assert all(len(oracle.entries("started", job.id)) == 1 for job in jobs)
    with server.client() as client:
        assert find_leaks(client) == []


async def cancel_at_some_time(job: Job[Any], *, within: float) -> None:
    """Cancel a job as a user would: again and again until there is an answer."""
    await asyncio.sleep(random.uniform(0, within))

    async def is_called_off() -> bool:
        try:
            return await job.cancel() or await job.state() is JobState.CANCELLED
        except BrokerError:
            return False

    await wait_until(is_called_off, timeout=PATIENCE)


async def cancel_each(oracle: Oracle, jobs: Sequence[Job[Any]]) -> list[float]:
    """Cancel running jobs one after another; return how long each handler went on, in seconds."""
    latencies: list[float] = []
    for job in jobs:
        await oracle.wait_for("started", job.id)
        asked = time.monotonic()
        assert await job.cancel()
        (entry,) = await oracle.wait_for("cancelled", job.id)
        latencies.append(entry.at - asked)
        with pytest.raises(JobCancelledError):
            await job.result(PATIENCE)
    return latencies


@asynccontextmanager
async def traffic(publisher: Publisher[Quick]) -> AsyncGenerator[None]:
    """Publish quick jobs for the length of a block."""

    async def publish() -> None:
        while True:
            await publisher.publish_many([Quick.Message()] * 20)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
