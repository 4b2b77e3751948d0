"""What a pool says of itself: well, away from Redis, on its way up and down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    ConsumerPool,
    PoolHealth,
    PoolState,
    QueueHealth,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.publisher import Publisher
from tests.pool.recording import RecordingHooks
from tests.pool.running import RunningPool, running_pool
from tests.servers import RedisServer, RedisServers, find_free_port
from tests.topologies import cluster_dsn, start_cluster
from tests.waiting import wait_until

LEASE = timedelta(seconds=1)


class Wait(BaseConsumer):
    QUEUE = "wait"
    gate: asyncio.Event

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await self.gate.wait()


class Other(BaseConsumer):
    QUEUE = "other"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


@pytest.fixture(autouse=True)
def gate() -> None:
    Wait.gate = asyncio.Event()


@pytest.fixture
async def running(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> AsyncIterator[tuple[RunningPool, RedisServer]]:
    server = redis_servers.start()
    wait = ConsumerConfig(consumer_class=Wait, count=2)
    async with running_pool(server.dsn, wait, Other, lease=LEASE, hooks=hooks) as running:
        try:
            await wait_until(lambda: running.pool.health.is_healthy)
            yield running, server
        finally:
            Wait.gate.set()


@pytest.fixture
def hooks() -> RecordingHooks:
    return RecordingHooks()


async def test_a_pool_that_waits_for_work_is_healthy(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Wait, Other, lease=LEASE) as running:
        await wait_until(lambda: running.pool.health.redis_latency is not None)
        health = running.pool.health

    assert health.is_healthy, health.problems
    assert health.state is PoolState.RUNNING
    assert (health.can_claim, health.running) == (True, 0)
    assert health.lease == LEASE
    assert [queue.queue for queue in health.queues] == ["wait", "other"]
    assert health.unanswered_for is None
    assert health.oldest_unacknowledged is None
    assert health.loop_lag is not None
    assert health.since_last_claim is not None
    (first, _) = health.queues
    assert first.last_claim_at is not None
    assert abs(datetime.now(UTC) - first.last_claim_at) < timedelta(minutes=1)


async def test_a_pool_without_a_free_slot_is_healthy(redis_dsn: str) -> None:
    wait = ConsumerConfig(consumer_class=Wait, count=2)
    async with running_pool(redis_dsn, wait) as running:
        for _ in range(3):
            await running.publish(Wait.Message())
        await wait_until(lambda: running.pool.running == 2)
        health = running.pool.health
        Wait.gate.set()

    assert health.is_healthy, health.problems
    assert health.running == 2
    assert [(queue.slots, queue.running) for queue in health.queues] == [(2, 2)]


async def test_a_pool_that_has_not_begun_is_starting(redis_dsn: str) -> None:
    pool = ConsumerPool(RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Other]))

    health = pool.health

    assert (health.state, health.can_claim, health.running) == (PoolState.STARTING, False, 0)
    assert health.problems == (
        "The pool is starting.",
        "Queue 'other' cannot be claimed from: nothing was claimed yet",
    )
    assert health.loop_lag is None
    assert health.since_last_claim is None


async def test_a_pool_that_stops_says_so_and_so_does_one_that_has_stopped(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Wait) as running:
        await running.publish(Wait.Message())
        await wait_until(lambda: running.pool.running == 1)
        running.pool.quiet()
        stopping = running.pool.health
        Wait.gate.set()
    stopped = running.pool.health

    assert (stopping.state, stopping.can_claim, stopping.running) == (PoolState.STOPPING, False, 1)
    assert stopping.problems[0] == "The pool is stopping."
    assert (stopped.state, stopped.can_claim, stopped.running) == (PoolState.STOPPED, False, 0)
    assert stopped.loop_lag is None
    assert not stopped.is_healthy


@pytest.mark.redis
async def test_a_pool_that_finds_no_redis_says_since_when_without_its_password(
    hooks: RecordingHooks, caplog: pytest.LogCaptureFixture
) -> None:
    dsn = f"redis://user:hush@127.0.0.1:{find_free_port()}/0"
    config = RedispatcherConfig(redis_dsn=dsn, consumers=[Other])
    pool = ConsumerPool(config, hooks=hooks)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run())
        await wait_until(lambda: pool.health.unanswered_for is not None)
        health = pool.health
        pool.quiet()

    assert health.state is PoolState.STARTING
    (queue,) = health.queues
    assert queue.reason is not None
    assert queue.reason.startswith("Redis cannot be reached, trying again: ConnectionError")
    assert len(hooks.failures) == 1
    assert "hush" not in f"{health}{hooks.failures}{caplog.text}"


@pytest.mark.redis
@pytest.mark.slow
class TestPausedRedis:
    async def test_a_pool_says_that_it_cannot_claim_and_when_it_can_again(
        self,
        running: tuple[RunningPool, RedisServer],
        hooks: RecordingHooks,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pool, server = running[0].pool, running[1]
        before = pool.health
        with caplog.at_level(logging.WARNING, "redispatcher"):
            with server.paused():
                await wait_until(lambda: not pool.health.can_claim)
                await wait_until(lambda: (pool.health.unanswered_for or LEASE) > LEASE)
                away = pool.health
            await wait_until(lambda: pool.health.is_healthy)
        back = pool.health

        assert before.is_healthy
        assert not away.is_healthy
        assert away.state is PoolState.RUNNING
        assert all("TimeoutError" in (queue.reason or "") for queue in away.queues)
        assert back.unanswered_for is None
        assert {outage.queues for outage in hooks.failures} == {("wait", "other")}
        # A renewal is given a third of a lease, and that counts.
        assert LEASE / 3 < hooks.failures[0].lasted < LEASE / 3 + timedelta(seconds=0.5)
        (resumed,) = hooks.resumptions
        assert resumed.lasted > LEASE
        events = [vars(record).get("event") for record in caplog.records]
        assert (events.count("pool.cannot_claim"), events.count("pool.can_claim")) == (1, 1)

    async def test_an_outcome_that_is_not_confirmed_is_seen_to_grow_old(
        self, running: tuple[RunningPool, RedisServer]
    ) -> None:
        pool, server = running[0].pool, running[1]
        await running[0].publish(Wait.Message())
        await wait_until(lambda: pool.running == 1)

        with server.paused():
            Wait.gate.set()
            await wait_until(lambda: (pool.health.oldest_unacknowledged or LEASE / 9) > LEASE)
            wait, other = pool.health.queues
            problems = pool.health.problems

        assert (wait.running, other.oldest_unacknowledged) == (0, None)
        assert any("has not confirmed" in problem for problem in problems)
        await wait_until(lambda: pool.health.oldest_unacknowledged is None)

    async def test_the_leases_that_begin_anew_are_told_of(
        self,
        running: tuple[RunningPool, RedisServer],
        hooks: RecordingHooks,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        await wait_until(lambda: has_leases(running[0]))
        with running[1].paused():
            begun = time.monotonic()
            await wait_until(lambda: time.monotonic() - begun > LEASE.total_seconds())

        await wait_until(lambda: {grace.queue for grace in hooks.graces} == {"wait", "other"})

        assert {grace.holders for grace in hooks.graces} == {1}
        assert all(LEASE / 2 < grace.gap < 20 * LEASE for grace in hooks.graces)
        assert "nobody is charged" in caplog.text


@pytest.mark.redis
async def test_a_claim_that_is_refused_is_told_of_though_renewals_are_not(
    running: tuple[RunningPool, RedisServer], hooks: RecordingHooks
) -> None:
    pool, server = running[0].pool, running[1]
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-lpop")
        await running[0].publish(Other.Message())
        await wait_until(lambda: not pool.health.can_claim)
        await wait_until(lambda: (pool.health.unanswered_for or LEASE / 9) > LEASE)
        reasons = {queue.reason or "" for queue in pool.health.queues}
        admin.execute_command("ACL", "SETUSER", "default", "+lpop")

    (reason,) = reasons
    assert reason.startswith("Redis refused a claim: ")
    assert len(hooks.failures) == 1


@pytest.mark.redis
async def test_a_pool_that_never_could_claim_does_not_say_when_it_stops_that_it_can_again(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> None:
    server = redis_servers.start()
    async with running_pool(server.dsn, Wait) as publishing:
        publishing.pool.quiet()
        await publishing.publish(Other.Message())
    with server.client() as admin:
        rights = ("+@all", "-del", "~*", "&*")
        admin.execute_command("ACL", "SETUSER", "half", "on", "nopass", *rights)

    dsn = f"redis://half:any@127.0.0.1:{server.port}"
    async with running_pool(dsn, Other, hooks=hooks):
        # What it took with the claim that was refused half-way, it is given by the last one.
        await wait_until(lambda: bool(hooks.failures))

    assert len(hooks.failures) == 1
    assert hooks.resumptions == []


@pytest.mark.redis
@pytest.mark.slow
async def test_a_pool_without_a_free_slot_notices_an_outage_when_it_looks_after_its_queues(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> None:
    server = redis_servers.start()
    wait = ConsumerConfig(consumer_class=Wait, count=1)
    config = RedispatcherConfig(redis_dsn=server.dsn, consumers=[wait])
    async with Connections(config.dsn, command_timeout=LEASE / 2) as connections:
        broker = Broker(connections, config.engine_settings())
        sender = DirectSender(connections.publisher, settings=broker.settings, store=broker)
        pool = ConsumerPool(config, broker=broker, hooks=hooks)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            await Publisher(Wait, sender, max_message_bytes=1000).publish(Wait.Message())
            await wait_until(lambda: pool.running == 1)
            with server.paused():
                await wait_until(lambda: not pool.health.can_claim)
                (queue,) = pool.health.queues
            await wait_until(lambda: pool.health.can_claim)
            pool.stop_now()

    # With a lease of half a minute, the first renewal is still to come.
    assert (queue.reason or "").startswith("Redis did not answer while looking after the queues")
    assert len(hooks.failures) == len(hooks.resumptions) == 1


@pytest.mark.redis
@pytest.mark.slow
# redis-py leaves the connections of nodes that it replaces to the garbage collector:
# https://github.com/redis/redis-py/issues/3572
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_in_a_cluster_only_the_queue_of_a_lost_shard_cannot_be_claimed_from(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> None:
    nodes = start_cluster(redis_servers, masters=3)
    for node in nodes:
        with node.client() as admin:
            admin.execute_command("CONFIG", "SET", "cluster-require-full-coverage", "no")
            # Longer than a busy machine holds up a node: a minority would stop all queues.
            admin.execute_command("CONFIG", "SET", "cluster-node-timeout", "10000")

    class First(BaseConsumer):
        QUEUE = "upper"  # on the first master

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None: ...

    class Second(BaseConsumer):
        QUEUE = "length"  # on the second

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None: ...

    dsn = cluster_dsn(nodes[1:])
    async with running_pool(dsn, First, Second, lease=LEASE, hooks=hooks) as running:
        await wait_until(lambda: running.pool.health.is_healthy)
        nodes[0].kill()

        await wait_until(
            lambda: (
                not queue_of(running.pool.health, "upper").can_claim
                and queue_of(running.pool.health, "length").can_claim
            )
        )
        health = running.pool.health
        nodes[0].start()
        await wait_until(lambda: running.pool.health.is_healthy, timeout=timedelta(seconds=30))

    assert not health.can_claim
    # redis-py breaks all connections of a cluster off when it learns its layout anew.
    lasted = {outage.queues: outage.lasted for outage in hooks.resumptions}
    assert lasted.pop(("upper",)) > lasted.pop(("length",), timedelta())
    assert lasted == {}


async def has_leases(running: RunningPool) -> bool:
    """Tell whether the pool holds a lease on each of its queues: there is the last look besides."""
    redis: Any = running.broker.connections.publisher
    return all([await redis.zcard(f"rd:{{{queue}}}:leases") == 2 for queue in ("wait", "other")])


def queue_of(health: PoolHealth, name: str) -> QueueHealth:
    (found,) = [queue for queue in health.queues if queue.queue == name]
    return found


class TestInsideAnApplication:
    async def test_there_is_no_health_without_a_pool(self, redis_dsn: str) -> None:
        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Other])
        dispatcher = Redispatcher(config)
        before = dispatcher.pool_health
        async with dispatcher.lifespan():
            during = dispatcher.pool_health

        assert (before, during) == (None, None)

    async def test_any_thread_may_ask(self, redis_dsn: str) -> None:
        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Other])
        dispatcher = Redispatcher(config, run_pool=True)
        seen: list[PoolHealth | None] = []

        def look() -> None:
            seen.append(dispatcher.pool_health)

        def is_healthy() -> bool:
            health = dispatcher.pool_health
            return health is not None and health.is_healthy

        async with dispatcher.lifespan(FastAPI()):
            await wait_until(is_healthy)
            thread = threading.Thread(target=look)
            thread.start()
            await asyncio.to_thread(thread.join)

        (health,) = seen
        assert health is not None
        assert health.is_healthy
        assert dispatcher.pool_health is None
