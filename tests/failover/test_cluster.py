"""A cluster loses a master, and moves a slot, under load: the other shards go on meanwhile."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import pytest
from redis.crc import key_slot

from redispatcher_fastapi.keys import queue_prefix
from tests.conftest import IS_LONG
from tests.failover.load import finished, first_start_after, known_to, load
from tests.reliability.jobs import Quick, Slow, Spinning
from tests.reliability.oracle import Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer, RedisServers
from tests.topologies import (
    begin_move,
    finish_move,
    holds_slot,
    start_cluster,
    start_cluster_replicas,
)
from tests.waiting import wait_until

# redis-py leaves the connections of nodes that it replaces to the garbage collector:
# https://github.com/redis/redis-py/issues/3572
pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

logger = logging.getLogger("tests.failover")

PATIENCE = timedelta(seconds=45)
#: Without the second, all shards stop until the lost one has a master again.
CONFIG = {"cluster-node-timeout": "1000", "cluster-require-full-coverage": "no"}
#: A reply of a killed master may still be on its way.
IN_FLIGHT = 0.2
#: Each on a shard of its own, in this order.
CONSUMERS = (Quick, Slow, Spinning)
MOVES = 5 if IS_LONG else 1


@dataclass
class Cluster:
    masters: list[RedisServer]
    replicas: list[RedisServer]

    @property
    def dsn(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.masters)
        return f"redis+cluster://{hosts}"

    def owner_of(self, slot: int) -> RedisServer:
        (owner,) = [node for node in [*self.masters, *self.replicas] if holds_slot(node, slot)]
        return owner


@pytest.fixture
def cluster(redis_servers: RedisServers) -> Cluster:
    masters = start_cluster(redis_servers, masters=3, config=CONFIG)
    return Cluster(masters, start_cluster_replicas(redis_servers, masters, config=CONFIG))


@pytest.mark.parametrize("confirmed_replicas", [pytest.param(0, marks=pytest.mark.long), 1])
async def test_a_killed_master_costs_only_what_replication_had_not_carried(
    cluster: Cluster, pools: Pools, oracle: Oracle, confirmed_replicas: int
) -> None:
    old, new = cluster.masters[0], cluster.replicas[0]
    processes = await pools.start_two(cluster.dsn, *CONSUMERS)
    async with (
        load(cluster.dsn, Quick, confirmed_replicas=confirmed_replicas) as hit,
        load(cluster.dsn, Slow) as second,
        load(cluster.dsn, Spinning) as third,
    ):
        await asyncio.gather(*(each.wait_for_more(100) for each in (hit, second, third)))
        old.kill()
        killed = monotonic()
        if confirmed_replicas:
            await wait_until(lambda: is_master(new), timeout=PATIENCE)
            old.start()
        await wait_until(
            lambda: len(hit.acknowledged_after(killed + IN_FLIGHT)) >= 100, timeout=PATIENCE
        )
    by_the_new_master = hit.acknowledged_after(killed + IN_FLIGHT)
    unharmed = set(second.acknowledged) | set(third.acknowledged)
    kept = set(hit.acknowledged) & known_to(new)
    await wait_until(lambda: kept | unharmed <= finished(oracle), timeout=PATIENCE)
    lost = set(hit.acknowledged) - finished(oracle)
    gap = IN_FLIGHT + first_start_after(oracle, killed + IN_FLIGHT, by_the_new_master)
    wait_of_others = max(second.longest_gap(killed), third.longest_gap(killed))
    logger.info(
        "cluster, %d confirming: %d acknowledged, %d lost; first job after %.2f s, other shards "
        "waited %.2f s; %d publishes repeated",
        *(confirmed_replicas, len(hit.acknowledged), len(lost), gap, wait_of_others),
        hit.repeated + second.repeated + third.repeated,
    )

    assert hit.errors == second.errors == third.errors == []
    assert by_the_new_master <= finished(oracle)
    assert not lost & (known_to(new) | by_the_new_master)
    assert not (lost and confirmed_replicas)
    assert wait_of_others < gap
    assert [process.is_alive for process in processes] == [True, True]


def is_master(node: RedisServer) -> bool:
    with node.client() as admin:
        return bool(admin.execute_command("ROLE")[0] == "master")


@pytest.mark.parametrize("confirmed_replicas", [pytest.param(0, marks=pytest.mark.long), 1])
async def test_a_slot_that_moves_loses_nothing_and_doubles_nothing(
    cluster: Cluster, pools: Pools, oracle: Oracle, confirmed_replicas: int
) -> None:
    slot = key_slot(queue_prefix(Quick.QUEUE).encode())
    processes = await pools.start_two(cluster.dsn, *CONSUMERS)
    owners = (cluster.masters[0], cluster.masters[2])
    async with (
        load(cluster.dsn, Quick, confirmed_replicas=confirmed_replicas) as moved,
        load(cluster.dsn, Slow) as other,
    ):
        for move in range(MOVES):
            await asyncio.gather(moved.wait_for_more(100), other.wait_for_more(100))
            source, target = owners[move % 2], owners[1 - move % 2]
            began = monotonic()
            with source.client() as old, target.client() as new:
                begin_move(slot, old, new)
                await other.wait_for_more(20)
                finish_move(slot, old, new, target)
            ended = monotonic()
            await asyncio.gather(moved.wait_for_more(100), other.wait_for_more(100))
            logger.info(
                "moving a slot took %.2f s: its queue waited %.2f s, another one %.2f s",
                *(ended - began, moved.longest_gap(began), other.longest_gap(began)),
            )
    acknowledged = set(moved.acknowledged) | set(other.acknowledged)
    await wait_until(lambda: acknowledged <= finished(oracle), timeout=PATIENCE)

    assert moved.errors == other.errors == []
    assert cluster.owner_of(slot) is owners[MOVES % 2]
    assert set(oracle.starts_per_job(acknowledged).values()) == {1}
    assert [process.is_alive for process in processes] == [True, True]
