"""A replica takes over by hand: what it had is all there, and what it had not is fenced off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from redispatcher_fastapi import BaseConsumer, JobContext, NotReplicatedError
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.broker.types import EngineSettings, Submission
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import PublishUncertainError
from redispatcher_fastapi.keys import queue_prefix, stats_key
from tests.broker.engine import ENVELOPE
from tests.conftest import IS_LONG
from tests.failover.load import known_to
from tests.pool.running import PATIENCE, running_pool
from tests.reliability.jobs import Quick
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer, RedisServers
from tests.topologies import offset_of, running_sentinel, start_replica
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

LEASE = timedelta(seconds=1)
BRIEFLY = timedelta(seconds=0.5)
ROUNDS = 20 if IS_LONG else 3


class Gated(BaseConsumer):
    """Its jobs end when its gate opens, with the number of the attempt."""

    QUEUE = "gated"
    gate: asyncio.Event
    starts: list[str]

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, context: JobContext) -> int:
        type(self).starts.append(context.id)
        await type(self).gate.wait()
        return context.attempt


class Quick2(BaseConsumer):
    QUEUE = "quick-2"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, context: JobContext) -> int:
        return context.attempt


@pytest.fixture(autouse=True)
def _closed_gate() -> None:
    Gated.gate, Gated.starts = asyncio.Event(), []


def promote(replica: RedisServer) -> None:
    with replica.client() as admin:
        admin.execute_command("REPLICAOF", "NO", "ONE")


def demote(master: RedisServer, *, to: RedisServer) -> None:
    """Make it a replica, as an operator does who leaves its connections alone."""
    with master.client() as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", to.port)


def cut_off(master: RedisServer, replica: RedisServer) -> None:
    """Freeze a replica, and close its connection, in which writes would wait for it."""
    replica.pause()
    with master.client() as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "replica")


def statistic(server: RedisServer, queue: str, name: str) -> int:
    with server.client() as admin:
        return int(admin.execute_command("HGET", stats_key(queue), name) or 0)


@asynccontextmanager
async def sending(
    dsn: str, *, confirmed_replicas: int, timeout: timedelta = PATIENCE
) -> AsyncGenerator[Sender, None]:
    settings = EngineSettings(confirmed_replicas=confirmed_replicas, publish_timeout=timeout)
    async with (
        Connections(parse_dsn(dsn)) as connections,
        Sender(Broker(connections, settings)) as sender,
    ):
        yield sender


async def publish_until_killed(master: RedisServer, *, confirmed_replicas: int) -> set[str]:
    """Kill a master amid concurrent publishes; return the jobs that were acknowledged."""
    acknowledged: set[str] = set()

    async def publish_on(sender: Sender, name: str) -> None:
        for number in count():
            job_id = f"{name}-{number}"
            while job_id not in acknowledged:
                try:
                    await sender.send(Quick.QUEUE, Submission(job_id, ENVELOPE, is_chosen_id=True))
                except PublishUncertainError:
                    if not master.is_running:
                        return
                else:
                    acknowledged.add(job_id)

    async with sending(
        master.dsn, confirmed_replicas=confirmed_replicas, timeout=timedelta(seconds=1)
    ) as sender:
        tasks = [asyncio.create_task(publish_on(sender, str(name))) for name in range(8)]
        await wait_until(lambda: len(acknowledged) >= 300)
        master.kill()
        await asyncio.gather(*tasks)
    return acknowledged


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_a_confirmed_publish_survives_a_kill_of_the_master(
    redis_servers: RedisServers, round_: int
) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)

    acknowledged = await publish_until_killed(master, confirmed_replicas=1)
    promote(replica)

    assert len(acknowledged) >= 300
    assert acknowledged <= known_to(replica)


async def test_a_publish_that_nobody_confirmed_can_be_lost(redis_servers: RedisServers) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)
    cut_off(master, replica)

    acknowledged = await publish_until_killed(master, confirmed_replicas=0)
    replica.resume()
    promote(replica)

    assert len(acknowledged) >= 300
    assert known_to(replica) == set()


async def test_the_same_publish_is_not_taken_for_confirmed(redis_servers: RedisServers) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)
    cut_off(master, replica)

    async with sending(master.dsn, confirmed_replicas=1, timeout=BRIEFLY) as sender:
        with pytest.raises(NotReplicatedError):
            await sender.send(Quick.QUEUE, Submission("one", ENVELOPE))
    replica.resume()


async def test_a_repeated_publish_reaches_the_new_master(redis_servers: RedisServers) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)
    submission = Submission("one", ENVELOPE, is_chosen_id=True)
    cut_off(master, replica)
    with Proxy(master.port) as proxy:
        async with sending(proxy.dsn, confirmed_replicas=1, timeout=BRIEFLY) as sender:
            with pytest.raises(NotReplicatedError):
                await sender.send(Quick.QUEUE, submission)
        master.kill()
        replica.resume()
        promote(replica)
        other = start_replica(redis_servers, replica)
        proxy.lead_to(replica.port)
        async with sending(proxy.dsn, confirmed_replicas=1) as sender:
            assert await sender.send(Quick.QUEUE, submission)

    assert known_to(replica) == known_to(other) == {"one"}


async def test_a_claim_that_replication_had_not_carried_is_fenced_off(
    redis_servers: RedisServers,
) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)
    with Proxy(master.port) as proxy:
        async with sending(master.dsn, confirmed_replicas=1) as sender:
            await sender.send(Gated.QUEUE, Submission("one", ENVELOPE))
        promote(replica)
        async with running_pool(proxy.dsn, Gated, lease=LEASE) as running:
            await wait_until(lambda: Gated.starts == ["one"])
            proxy.lead_to(replica.port)
            master.kill()
            await wait_until(lambda: Gated.starts == ["one", "one"], timeout=PATIENCE)
            Gated.gate.set()

            job = running.publisher(Gated).job("one")
            assert await job.result(PATIENCE) == 1
            await wait_until(lambda: running.pool.running == 0)

    assert statistic(replica, "gated", "succeeded") == 1
    assert statistic(replica, "gated", "stale") == 1


def commands_at(server: RedisServer) -> set[str]:
    """Return what clients wait for on a server, or have sent to it within the last second."""
    with server.client() as admin:
        clients = str(admin.execute_command("CLIENT", "LIST", "TYPE", "normal"))
    found = re.findall(r"idle=(\d+) flags=(\w+) .*cmd=(\w+)", clients)
    return {command for idle, flags, command in found if idle == "0" or "b" in flags}


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_demoted_master_that_keeps_its_connections_is_left(
    redis_servers: RedisServers, protocol: int
) -> None:
    master = redis_servers.start()
    replica = start_replica(redis_servers, master)
    with Proxy(master.port) as proxy:
        dsn = f"{proxy.dsn}?protocol={protocol}"
        async with running_pool(dsn, Gated, Quick2, lease=LEASE) as running:
            assert await running.perform(Quick2.Message()) == 1
            long = await running.publish(Gated.Message())
            await wait_until(lambda: running.pool.running == 1)
            await wait_until(lambda: offset_of(replica) == offset_of(master))

            proxy.lead_to(replica.port)
            promote(replica)
            demote(master, to=replica)

            assert await running.perform(Quick2.Message()) == 1
            await wait_until(lambda: "blpop" in commands_at(replica), timeout=PATIENCE)
            await wait_until(
                lambda: not {"blpop", "evalsha"} & commands_at(master), timeout=PATIENCE
            )
            await wait_until_renewed(replica)
            Gated.gate.set()
            assert await long.result(PATIENCE) == 1
            assert Gated.starts == [long.id]


async def wait_until_renewed(server: RedisServer) -> None:
    """Return once every lease has been renewed more than once."""
    first = lease_end(server)
    later = first + 2 * LEASE / timedelta(milliseconds=1)
    await wait_until(lambda: lease_end(server) > later)


def lease_end(server: RedisServer) -> float:
    key = f"{queue_prefix(Gated.QUEUE)}leases"
    with server.client() as admin:
        holders = admin.execute_command("ZRANGE", key, 0, -1)
        return max(
            float(admin.execute_command("ZSCORE", key, holder)) for holder in holders if holder
        )


async def test_sentinel_names_another_master_while_the_old_one_answers_readonly(
    redis_servers: RedisServers, tmp_path: Any
) -> None:
    password = {"requirepass": "p", "masterauth": "p"}
    master = redis_servers.start(config=password)
    replica = start_replica(redis_servers, master, **password)
    with running_sentinel(tmp_path, master) as sentinel:
        async with running_pool(sentinel.dsn(), Gated, Quick2, lease=LEASE) as running:
            assert await running.perform(Quick2.Message()) == 1
            long = await running.publish(Gated.Message())
            await wait_until(lambda: running.pool.running == 1)
            await wait_until(lambda: offset_of(replica) == offset_of(master))

            promote(replica)
            demote(master, to=replica)
            sentinel.point_to(replica)

            assert await running.perform(Quick2.Message()) == 1
            await wait_until(lambda: "blpop" in commands_at(replica), timeout=PATIENCE)
            await wait_until(
                lambda: not {"blpop", "evalsha"} & commands_at(master), timeout=PATIENCE
            )
            await wait_until_renewed(replica)
            Gated.gate.set()
            assert await long.result(PATIENCE) == 1
            assert Gated.starts == [long.id]
