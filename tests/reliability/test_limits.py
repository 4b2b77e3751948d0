"""Limits and orders while the processes that keep them are killed, judged outside of Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise

import pytest

from redispatcher_fastapi import Job, JobState, Redispatcher
from redispatcher_fastapi.keys import queue_prefix
from tests.leaks import find_leaks
from tests.reliability.jobs import InOrder, Limited
from tests.reliability.looking import wait_for_count
from tests.reliability.observed import Observed
from tests.reliability.oracle import Oracle
from tests.reliability.processes import PoolProcess, Pools
from tests.servers import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

TENANTS = 7
PROCESSES = 4
#: How many starts a rate allows, and within how many milliseconds, see ``Limited``.
RATE, TENANT_RATE = (25, 250), (4, 150)


async def start_pools(
    server: RedisServer, pools: Pools, consumer: type[Observed]
) -> list[PoolProcess]:
    processes = [pools.begin(server.dsn, consumer) for _ in range(PROCESSES)]
    for each in processes:
        await each.wait_until_ready()
    return processes


async def kill_again_and_again(
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    processes: list[PoolProcess],
    consumer: type[Observed],
    *,
    kills: int,
    starts: int,
) -> None:
    """Kill the process that began the last job after so many starts, and begin another instead."""
    for kill in range(1, kills + 1):
        await oracle.wait_for("started", count=kill * starts)
        latest = oracle.entries("started")[-1].pid
        victim = next((each for each in processes if each.pid == latest), processes[0])
        processes.remove(victim)
        victim.kill()
        processes.append(pools.begin(server.dsn, consumer))


def most_at_once(oracle: Oracle, job_ids: set[str]) -> int:
    """Return how many of some jobs ran at the same time, at most.

    A run that was killed ended no earlier than its process wrote its last line.
    """
    changes: list[tuple[float, int]] = []
    running: dict[tuple[str, int], int] = {}
    last: dict[int, float] = {}
    for entry in oracle.entries():
        last[entry.pid] = entry.at
    for entry in oracle.entries():
        key = entry.job_id, entry.pid
        if entry.job_id in job_ids and entry.event == "started":
            running[key] = 1
            changes.append((entry.at, 1))
        elif entry.job_id in job_ids and entry.event in {"finished", "raised", "cancelled"}:
            del running[key]
            changes.append((entry.at, -1))
    changes += [(last[pid], -1) for _, pid in running]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def most_within(times: Iterable[int], span: int) -> int:
    """Return how many of some times lie within a stretch of ``span``, at most."""
    ordered = sorted(times)
    first, most = 0, 0
    for index, time in enumerate(ordered):
        while ordered[first] <= time - span:
            first += 1
        most = max(most, index - first + 1)
    return most


async def find_rest(dispatcher: Redispatcher, server: RedisServer, queue: str) -> set[str]:
    """Return what Redis still has of a queue once its pools have looked after it."""
    lasting = {"jobs", "stats", "succeeded", "leases", "grace", "wake", "special"}

    def rest() -> set[str]:
        with server.client() as client:
            keys = client.execute_command("KEYS", f"{queue_prefix(queue)}*")
        names = {str(key).rpartition("}:")[2] for key in keys}
        return {name for name in names - lasting if name.partition(":")[0] not in _OF_PROCESSES}

    # Starts are remembered until they are past.
    await wait_until(lambda: not rest(), timeout=timedelta(seconds=20))
    return rest()


_OF_PROCESSES = {"calls", "history", "poke", "turn"}


async def test_limits_are_never_exceeded_while_processes_are_killed(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await run_limited(server, oracle, pools, dispatcher, jobs=70, kills=2)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_limits_are_never_exceeded_in_the_long_run(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await run_limited(server, oracle, pools, dispatcher, jobs=1000, kills=20)


async def run_limited(
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
    *,
    jobs: int,
    kills: int,
) -> None:
    processes = await start_pools(server, pools, Limited)
    # Half of the jobs are of one tenant, which therefore is at its limits until the end.
    tenants = [number % TENANTS if number % 2 else 0 for number in range(jobs)]
    # Long jobs come up against how many may run, short ones against how many may start.
    messages = [
        Limited.Message(tenant=f"t{tenant}", seconds=0.1 if number < jobs // 2 else 0.005)
        for number, tenant in enumerate(tenants)
    ]
    published = await dispatcher.publisher(Limited).publish_many(messages)
    tenant_of = {job.id: each.tenant for job, each in zip(published, messages, strict=True)}

    starts = jobs // (kills + 1)
    await kill_again_and_again(
        server, oracle, pools, processes, Limited, kills=kills, starts=starts
    )
    await wait_for_count(dispatcher, Limited, JobState.SUCCEEDED, jobs)

    by_tenant: defaultdict[str, set[str]] = defaultdict(set)
    for job_id, tenant in tenant_of.items():
        by_tenant[tenant].add(job_id)
    assert most_at_once(oracle, set(tenant_of)) == 6
    assert max(most_at_once(oracle, ids) for ids in by_tenant.values()) == 2
    claimed = oracle.entries("claimed")
    assert most_within((entry.attempt for entry in claimed), RATE[1]) <= RATE[0]
    for ids in by_tenant.values():
        times = [entry.attempt for entry in claimed if entry.job_id in ids]
        assert most_within(times, TENANT_RATE[1]) <= TENANT_RATE[0]
    await expect_nothing_left(dispatcher, server, Limited)


async def test_the_order_holds_while_processes_are_killed_and_jobs_fail(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await run_ordered(server, oracle, pools, dispatcher, accounts=8, each=12, kills=2)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_order_holds_in_the_long_run(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await run_ordered(server, oracle, pools, dispatcher, accounts=20, each=40, kills=12)


async def run_ordered(
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
    *,
    accounts: int,
    each: int,
    kills: int,
) -> None:
    processes = await start_pools(server, pools, InOrder)
    messages = [
        InOrder.Message(account=account, number=number)
        for number in range(each)
        for account in range(accounts)
    ]
    published = await dispatcher.publisher(InOrder).publish_many(messages)
    lines: defaultdict[int, list[Job[None]]] = defaultdict(list)
    for job, message in zip(published, messages, strict=True):
        lines[message.account].append(job)

    starts = len(messages) // (kills + 1)
    await kill_again_and_again(
        server, oracle, pools, processes, InOrder, kills=kills, starts=starts
    )
    await wait_for_count(dispatcher, InOrder, JobState.SUCCEEDED, len(messages))

    started, finished = oracle.entries("started"), oracle.entries("finished")
    first = {entry.job_id: entry.at for entry in reversed(started)}
    ended = {entry.job_id: entry.at for entry in finished}
    for line in lines.values():
        for before, after in pairwise(line):
            assert ended[before.id] <= first[after.id]
    # It was worth it: some ran again after they had failed, and some after a kill.
    raised = oracle.entries("raised")
    assert raised
    assert len(started) > len(finished) + len(raised)
    await expect_nothing_left(dispatcher, server, InOrder)


async def expect_nothing_left(
    dispatcher: Redispatcher, server: RedisServer, consumer: type[Observed]
) -> None:
    record = await dispatcher.inspector.queue(consumer)
    assert (record.waiting, record.running, record.partitions_waiting) == (0, 0, 0)
    assert await find_rest(dispatcher, server, consumer.QUEUE) == set()
    with server.client() as client:
        assert find_leaks(client) == []
