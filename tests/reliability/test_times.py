"""When jobs start: at their due time by the clock of Redis, whatever the workers' clocks say."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise
from statistics import median

import pytest

from redispatcher_fastapi import Job, JobState, Redispatcher
from tests.reliability.jobs import RETRY_WAIT, Failing, Quick, Slow, Timed
from tests.reliability.looking import read_record, wait_for_count
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import LEASE, Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

#: Redis counts milliseconds, and so may start a job this much early.
ROUNDING = 0.002


async def test_a_delayed_job_starts_at_its_due_time_on_an_idle_pool(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await pools.start(server.dsn, Quick)
    publisher = dispatcher.publisher(Quick)
    due: dict[str, float] = {}
    for number in range(40):
        delay = timedelta(milliseconds=500 + 30 * number)
        published_at = time.monotonic()
        job = await publisher.publish(Quick.Message(), delay=delay)
        due[job.id] = published_at + delay.total_seconds()

    starts = await oracle.wait_for("started", count=len(due))

    lateness = [start.at - due[start.job_id] for start in starts]
    assert min(lateness) >= -ROUNDING
    assert median(lateness) <= 0.03
    assert max(lateness) <= 1


async def test_a_job_due_earlier_than_the_one_slept_for_wakes_the_pool(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await pools.start(server.dsn, Quick)
    publisher = dispatcher.publisher(Quick)
    await publisher.publish(Quick.Message(), delay=timedelta(hours=1))
    lateness: list[float] = []
    for milliseconds in (600, 300, 100, 0):
        published_at = time.monotonic()
        delay = timedelta(milliseconds=milliseconds)
        job = await publisher.publish(Quick.Message(), delay=delay)
        (start,) = await oracle.wait_for("started", job.id)
        lateness.append(start.at - published_at - delay.total_seconds())

    assert min(lateness) >= -ROUNDING
    # The pool blocks for five seconds at a time.
    assert max(lateness) <= 1


async def test_clocks_that_are_hours_off_change_no_due_time_and_no_lease(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    ahead = await pools.start(server.dsn, Quick, Slow, Failing, clock_offset=timedelta(hours=7))
    long = await dispatcher.publisher(Slow).publish(
        Timed.Message(seconds=3 * LEASE.total_seconds())
    )
    doomed = await dispatcher.publisher(Slow).publish(Timed.Message(seconds=60, only_in=ahead.pid))
    await oracle.wait_for("started", pid=ahead.pid, count=2)
    behind = await pools.start(server.dsn, Quick, Slow, Failing, clock_offset=-timedelta(hours=7))

    delay = timedelta(milliseconds=700)
    published_at = time.monotonic()
    delayed = await dispatcher.publisher(Quick).publish_many([Quick.Message()] * 20, delay=delay)
    failing = await dispatcher.publisher(Failing).publish_many(
        [Failing.Message(errors=["value", "value"])] * 10
    )
    await wait_for_count(dispatcher, Quick, JobState.SUCCEEDED, len(delayed))
    await wait_for_count(dispatcher, Failing, JobState.SUCCEEDED, len(failing))
    assert await long.result(PATIENCE) == ahead.pid
    ahead.kill()
    killed_at = time.monotonic()
    assert await doomed.result(PATIENCE) == behind.pid

    for job in delayed:
        (start,) = oracle.entries("started", job.id)
        assert -ROUNDING <= start.at - published_at - delay.total_seconds() <= 1
    assert_retries_waited(oracle, failing)
    assert len(oracle.entries("started", long.id)) == 1
    _, second = oracle.entries("started", doomed.id)
    assert 0 <= second.at - killed_at <= LEASE.total_seconds() + 2
    published = (await read_record(doomed)).published_at
    assert published is not None
    assert abs(published.timestamp() - time.time()) < 600


def assert_retries_waited(oracle: Oracle, jobs: list[Job[int]]) -> None:
    for job in jobs:
        starts = [entry.at for entry in oracle.entries("started", job.id)]
        waits = [later - earlier for earlier, later in pairwise(starts)]
        assert len(waits) == 2
        assert min(waits) >= RETRY_WAIT.total_seconds() - ROUNDING
        assert max(waits) <= RETRY_WAIT.total_seconds() + 1
