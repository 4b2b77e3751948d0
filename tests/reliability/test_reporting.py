"""What pool processes write to their log when something is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import JobState, Redispatcher
from tests.reliability.jobs import Blocking, Killer, Quick, Slow, Timed
from tests.reliability.looking import wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import PoolProcess, Pools
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

LEASE = timedelta(seconds=1)


def events_of(processes: list[PoolProcess], name: str) -> list[dict[str, Any]]:
    return [event for process in processes for event in process.events(name)]


async def test_every_step_of_a_job_that_kills_its_process_is_told(
    server: RedisServer, pools: Pools, dispatcher: Redispatcher
) -> None:
    message = Killer.Message(seconds=0.05, how="signal")
    killer = await dispatcher.publisher(Killer).publish(message)
    async with pools.supervised(server.dsn, Killer) as processes:
        await wait_for_state(killer, JobState.DEAD)
        await wait_until(lambda: bool(events_of(processes, "job.parked")), timeout=PATIENCE)

    lost = events_of(processes, "job.taken_back")
    isolated = events_of(processes, "job.isolated")
    alone = events_of(processes, "job.solo_started")
    (parked,) = events_of(processes, "job.parked")
    assert [(event["losses"], event["level"]) for event in lost] == [
        (1, "warning"),
        (2, "warning"),
        (3, "warning"),
        (4, "warning"),
        (5, "error"),
    ]
    assert [event["losses"] for event in isolated] == [3, 4]
    assert [event["losses"] for event in alone] == [3, 4]
    assert parked["reason"] == "worker_lost"
    told = [*lost, *isolated, *alone, parked]
    assert {event["job_id"] for event in told} == {killer.id}
    assert {event["reason"] for event in told} == {"worker_lost"}


async def test_an_outage_and_the_grace_after_it_are_told_by_each_pool(
    server: RedisServer, proxy: Proxy, pools: Pools, dispatcher: Redispatcher
) -> None:
    processes = list(await pools.start_two(proxy.dsn, Quick, Slow, lease=LEASE))
    job = await dispatcher.publisher(Quick).publish(Quick.Message())
    await job.result(PATIENCE)

    with proxy.refusing():
        for process in processes:
            await process.wait_for_log("Cannot claim jobs of")
        await wait_until(lambda: server_time(server) > last_look(server) + LEASE.total_seconds())
    for process in processes:
        await process.wait_for_log("Can claim jobs of")
    await wait_until(lambda: all(len(each.events("pool.grace")) >= 2 for each in processes))

    for process in processes:
        (away,), (back,) = process.events("pool.cannot_claim"), process.events("pool.can_claim")
        assert away["queues"] == back["queues"] == ["quick", "slow"]
        assert (away["level"], back["level"]) == ("warning", "warning")
        assert away["reason"].startswith("Redis did not answer")
        assert away["seconds"] < LEASE.total_seconds() < back["seconds"]
    graces = events_of(processes, "pool.grace")
    # Whoever came first let all leases of a queue begin anew; the other one found the note of it.
    for process in processes:
        told = sorted(grace["queue"] for grace in process.events("pool.grace"))
        assert told == ["quick", "slow"]
    assert {grace["reason"] for grace in graces} == {"outage"}
    assert {grace["holders"] for grace in graces} == {2}
    assert all(grace["gap_seconds"] > LEASE.total_seconds() for grace in graces)


async def test_a_process_that_was_stopped_says_that_it_stood_still(
    server: RedisServer, pools: Pools
) -> None:
    process = await pools.start(server.dsn, Quick, lease=LEASE)
    before = server_time(server)
    process.pause()
    await wait_until(lambda: server_time(server) > before + 1.5 * LEASE.total_seconds())

    process.resume()

    await process.wait_for_log("The whole process stood still for")
    await wait_until(lambda: bool(process.events("pool.loop_freed")))
    (block,) = process.events("pool.loop_blocked")
    assert (block["reason"], block["job_id"]) == ("process_frozen", None)
    assert block["seconds"] > LEASE.total_seconds()


async def test_a_handler_that_blocks_is_in_the_log_while_it_does(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    process = await pools.start(server.dsn, Blocking, lease=LEASE)
    job = await dispatcher.publisher(Blocking).publish(Timed.Message(seconds=3))

    await wait_until(lambda: bool(process.events("pool.loop_blocked")), timeout=PATIENCE)
    has_finished = bool(oracle.entries("finished", job.id))
    await wait_until(lambda: bool(process.events("pool.loop_freed")), timeout=PATIENCE)

    assert not has_finished
    (block,), (end,) = process.events("pool.loop_blocked"), process.events("pool.loop_freed")
    assert (block["consumer"], block["queue"]) == ("Blocking", "blocking")
    assert block["job_id"] == end["job_id"] == job.id
    assert "time.sleep(message.pause)" in block["message"]
    assert end["seconds"] > 2


def server_time(server: RedisServer) -> float:
    with server.client() as admin:
        seconds, microseconds = admin.execute_command("TIME")
    return int(seconds) + int(microseconds) / 1e6


def last_look(server: RedisServer) -> float:
    """Return when somebody last looked at the leases."""
    with server.client() as admin:
        return float(admin.execute_command("ZSCORE", "rd:{slow}:leases", "")) / 1000
