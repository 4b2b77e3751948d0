"""A Sentinel failover under load: what the new master has is done, and what was lost is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from tests.failover.load import finished, first_start_after, known_on_disk, known_to, load
from tests.failover.sentinels import SentinelGroup, sentinel_group
from tests.reliability.jobs import Quick
from tests.reliability.oracle import Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServers
from tests.waiting import wait_until, wait_until_blocking

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(300)]

logger = logging.getLogger("tests.failover")

#: On a busy machine, 45 s were seen not to be enough for a failover.
PATIENCE = timedelta(seconds=100)
#: A reply of a killed master may still be on its way.
IN_FLIGHT = 0.2


@pytest.fixture
def group(redis_servers: RedisServers, tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel_group(redis_servers, tmp_path) as group:
        yield group


async def test_a_killed_master_costs_only_what_replication_had_not_carried(
    group: SentinelGroup, pools: Pools, oracle: Oracle
) -> None:
    old, new = group.master, group.replica
    processes = await pools.start_two(group.dsn, Quick)
    async with load(group.dsn) as publishing:
        await publishing.wait_for_more(200)
        old.kill()
        killed = monotonic()
        await wait_until(
            lambda: len(publishing.acknowledged_after(killed + IN_FLIGHT)) >= 200, timeout=PATIENCE
        )
    acknowledged = set(publishing.acknowledged)
    by_the_new_master = publishing.acknowledged_after(killed + IN_FLIGHT)
    await wait_until(lambda: acknowledged & known_to(new) <= finished(oracle), timeout=PATIENCE)
    only_on_the_old_one = known_on_disk(old) - known_to(new)
    old.start()
    lost = acknowledged - finished(oracle)
    gap = IN_FLIGHT + first_start_after(oracle, killed + IN_FLIGHT, by_the_new_master)
    logger.info(
        "SIGKILL: %d acknowledged, %d lost, first job after %.2f s, %d publishes repeated",
        *(len(acknowledged), len(lost), gap, publishing.repeated),
    )

    assert publishing.errors == []
    assert by_the_new_master <= finished(oracle)
    assert lost <= only_on_the_old_one
    assert [process.is_alive for process in processes] == [True, True]
    wait_until_blocking(lambda: group.is_settled(master=new, replica=old), timeout=PATIENCE)
    assert known_to(old) == known_to(new)


@pytest.mark.long
async def test_a_failover_on_command_costs_only_what_replication_had_not_carried(
    group: SentinelGroup, pools: Pools, oracle: Oracle
) -> None:
    old, new = group.master, group.replica
    processes = await pools.start_two(group.dsn, Quick)
    async with load(group.dsn) as publishing:
        await publishing.wait_for_more(200)
        began = monotonic()
        group.fail_over()
        await wait_until(lambda: group.is_settled(master=new, replica=old), timeout=PATIENCE)
        settled = monotonic()
        await publishing.wait_for_more(200)
    acknowledged = set(publishing.acknowledged)
    by_the_new_master = publishing.acknowledged_after(settled)
    await wait_until(lambda: acknowledged & known_to(new) <= finished(oracle), timeout=PATIENCE)
    lost = acknowledged - finished(oracle)
    logger.info(
        "SENTINEL FAILOVER: %d acknowledged, %d lost, settled after %.2f s, %d publishes repeated",
        *(len(acknowledged), len(lost), settled - began, publishing.repeated),
    )

    assert publishing.errors == []
    assert by_the_new_master <= finished(oracle)
    assert not lost & known_to(new)
    assert [process.is_alive for process in processes] == [True, True]


@pytest.mark.long
async def test_a_failover_on_command_costs_no_confirmed_publish(
    group: SentinelGroup, pools: Pools, oracle: Oracle
) -> None:
    old, new = group.master, group.replica
    await pools.start_two(group.dsn, Quick)
    async with load(group.dsn, confirmed_replicas=1) as publishing:
        for master, replica in ((new, old), (old, new)):
            await publishing.wait_for_more(200)
            group.fail_over()
            await wait_until(
                lambda: group.is_settled(master=master, replica=replica),  # noqa: B023
                timeout=PATIENCE,
            )
        await publishing.wait_for_more(200)
    acknowledged = set(publishing.acknowledged)

    await wait_until(lambda: acknowledged <= finished(oracle), timeout=PATIENCE)
    logger.info("confirmed: %d acknowledged, 0 lost in two failovers", len(acknowledged))
    assert publishing.errors == []
