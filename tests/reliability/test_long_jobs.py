"""Jobs that take longer than the lease, beside a pool that would take them over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi import JobState, Redispatcher
from tests.reliability.jobs import Blocking, Slow, Spinning, Threaded, Timed
from tests.reliability.looking import read_record, wait_for_state
from tests.reliability.oracle import Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

LEASE = timedelta(seconds=1)
LONG = LEASE * 2.5

Kind = type[Slow | Threaded | Blocking | Spinning]


@pytest.mark.parametrize("kinds", [(Slow, Threaded), (Blocking,), (Spinning,)])
async def test_a_job_longer_than_the_lease_runs_once(
    kinds: tuple[Kind, ...],
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
) -> None:
    processes = await pools.start_two(server.dsn, *kinds, lease=LEASE)
    message = Timed.Message(seconds=LONG.total_seconds())
    jobs = [await dispatcher.publisher(kind).publish(message) for kind in kinds]

    for job in jobs:
        await wait_for_state(job, JobState.SUCCEEDED)

    for job in jobs:
        (start,) = oracle.entries("started", job.id)
        (finish,) = oracle.entries("finished", job.id)
        assert finish.at - start.at > LEASE.total_seconds()
        assert (await read_record(job)).losses == 0
    assert [process.events("job.refused") for process in processes] == [[], []]


async def test_control_without_renewal_a_long_job_is_started_twice(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    silent = await pools.start(server.dsn, Slow, lease=LEASE, without="heartbeat")
    message = Timed.Message(seconds=60, only_in=silent.pid)
    job = await dispatcher.publisher(Slow).publish(message)
    await oracle.wait_for("started", job.id, pid=silent.pid)
    await pools.start(server.dsn, Slow, lease=LEASE)

    await oracle.wait_for("started", job.id, count=2)

    await wait_for_state(job, JobState.SUCCEEDED)
