"""Pools that are killed, and jobs that kill them."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

import pytest

from redispatcher_fastapi import Job, JobState, Redispatcher
from tests.leaks import find_leaks
from tests.reliability.jobs import Killer, Slow
from tests.reliability.looking import read_record, read_states, wait_for_count, wait_for_state
from tests.reliability.oracle import Oracle
from tests.reliability.processes import LEASE, PoolProcess, Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]


async def test_no_acknowledged_job_is_lost_while_pools_are_killed_again_and_again(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Slow)
    jobs = await publisher.publish_many([Slow.Message(seconds=0.1)] * 300)
    processes = list(await pools.start_two(server.dsn, Slow))

    for kill in range(6):
        victim = processes.pop(0)
        await oracle.wait_for("started", pid=victim.pid, count=20)
        victim.kill()
        processes.append(pools.begin(server.dsn, Slow))
        jobs += await publisher.publish_many([Slow.Message(seconds=0.1)] * 20)
        jobs.append(await publisher.publish(Slow.Message(), id=f"chosen-{kill}"))
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    losses = {job.id: (await read_record(job)).losses for job in jobs}
    starts = oracle.starts_per_job(losses)
    assert await read_states(jobs) == {JobState.SUCCEEDED}
    assert {entry.job_id for entry in oracle.entries("finished")} == set(losses)
    assert sum(losses.values()) > 0
    # Every further start is accounted for by a loss that Redis knows of.
    assert [id for id, count in starts.items() if count > 1 + losses[id]] == []
    with server.client() as client:
        assert find_leaks(client) == []


@pytest.mark.parametrize("lose", [PoolProcess.kill, PoolProcess.pause])
async def test_the_jobs_of_a_lost_pool_run_again_soon_after_its_lease(
    lose: Callable[[PoolProcess], None],
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
) -> None:
    doomed = await pools.start(server.dsn, Slow)
    message = Slow.Message(seconds=60, only_in=doomed.pid)
    jobs = [await dispatcher.publisher(Slow).publish(message) for _ in range(5)]
    await oracle.wait_for("started", pid=doomed.pid, count=5)
    heir = await pools.start(server.dsn, Slow)

    lose(doomed)
    lost_at = time.monotonic()
    starts = [await oracle.wait_for("started", job.id, pid=heir.pid) for job in jobs]

    gaps = [start.at - lost_at for (start,) in starts]
    assert median(gaps) <= LEASE.total_seconds() + 0.5
    assert max(gaps) <= LEASE.total_seconds() + 2


async def test_a_job_that_kills_its_process_is_dead_after_five_starts_and_innocent_ones_are_not(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    killer, innocents = await publish_a_killer_among_innocents(dispatcher, how="signal")
    async with pools.supervised(server.dsn, Killer, Slow) as processes:
        await wait_for_state(killer, JobState.DEAD)
        for job in innocents:
            await wait_for_state(job, JobState.SUCCEEDED)

    record = await read_record(killer)
    assert record.reason == "worker_lost"
    assert [attempt.outcome for attempt in record.history] == ["lost"] * record.losses
    assert len(oracle.entries("started", killer.id)) <= 5
    assert len(processes) >= len(oracle.entries("started", killer.id))
    # It was worth protecting them: some were lost beside it.
    assert any([(await read_record(job)).losses for job in innocents])


async def test_control_without_isolation_the_innocents_beside_it_die_too(
    server: RedisServer, pools: Pools, dispatcher: Redispatcher
) -> None:
    killer, innocents = await publish_a_killer_among_innocents(dispatcher, how="exit")
    async with pools.supervised(server.dsn, Killer, Slow, without="isolation"):
        await wait_for_state(killer, JobState.DEAD)

    assert JobState.DEAD in await read_states(innocents)


async def publish_a_killer_among_innocents(
    dispatcher: Redispatcher, *, how: Literal["exit", "signal"]
) -> tuple[Job[Any], list[Job[Any]]]:
    """Publish ten innocents of the same consumer and ten of another, all longer than it takes."""
    slow, killers = dispatcher.publisher(Slow), dispatcher.publisher(Killer)
    innocents: list[Job[Any]] = []
    innocents += await slow.publish_many([Slow.Message(seconds=0.5)] * 10)
    innocents += await killers.publish_many([Killer.Message(seconds=0.5, how="innocent")] * 5)
    killer = await killers.publish(Killer.Message(seconds=0.2, how=how))
    innocents += await killers.publish_many([Killer.Message(seconds=0.5, how="innocent")] * 5)
    return killer, innocents
