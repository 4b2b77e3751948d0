"""A pool does all of its work on every kind of Redis that has an address."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from redispatcher_fastapi import (
    BaseConsumer,
    BrokerUnavailableError,
    ConsumerConfig,
    Fixed,
    JobCancelledError,
    JobContext,
    JobState,
    Publisher,
    RetryPolicy,
    chain,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.types import EngineSettings, Want
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.keys import queue_prefix
from tests.flows import photos
from tests.leaks import find_leaks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.servers import RedisServer, RedisServers, find_redis_server, skip_or_fail
from tests.topologies import (
    begin_move,
    cluster_dsn,
    finish_move,
    holds_slot,
    offset_of,
    running_sentinel,
    start_cluster,
    tls_server,
)
from tests.waiting import wait_until, wait_until_blocking

pytestmark = pytest.mark.redis

LEASE = timedelta(seconds=1)
QUEUES = ("upper", "length", "echo")
MILLISECOND = timedelta(milliseconds=1)
DELAY = timedelta(milliseconds=150)
#: An idle pool, and whoever waits for a result, look by themselves only every 5 s.
PROMPTLY = timedelta(seconds=4)


class Upper(BaseConsumer):
    """Lives on the first of three masters."""

    QUEUE = "upper"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> str:
        return message.text.upper()


class Length(BaseConsumer):
    """Lives on the second."""

    QUEUE = "length"

    class Message(BaseConsumer.Message):
        text: str

    def process_message(self, message: Message) -> int:
        return len(message.text)


class Echo(BaseConsumer):
    """Lives on the third."""

    QUEUE = "echo"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta(milliseconds=1)))

    class Message(BaseConsumer.Message):
        text: str
        failures: int = 0

    async def process_message(self, message: Message, context: JobContext) -> str:
        if context.attempt <= message.failures:
            raise ValueError("not yet")
        return f"{message.text} on attempt {context.attempt}"


def gated(queue: str, gate: asyncio.Event) -> type[BaseConsumer]:
    """Return a consumer whose jobs end, with the number of the attempt, when the gate opens."""

    class Gated(BaseConsumer):
        QUEUE = queue

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message, context: JobContext) -> int:
            await gate.wait()
            return context.attempt

    return Gated


async def check_all_work(dsn: str, servers: list[RedisServer]) -> None:
    """Do on a store, once, what users do."""
    async with running_pool(dsn, Echo, Upper, Length, *photos.ALL) as running:
        assert await running.perform(Echo.Message(text="a")) == "a on attempt 1"
        assert await running.perform(Upper.Message(text="a")) == "A"
        assert await running.perform(Length.Message(text="four")) == 4
        assert await running.perform(Echo.Message(text="b", failures=1)) == "b on attempt 2"
        await check_delay(running)
        await check_many(running)
        await check_flows(running)
        await check_prompt_start(running, servers)


async def check_delay(running: RunningPool) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    job = await running.publish(Upper.Message(text="later"), delay=DELAY)
    assert await job.state() is JobState.SCHEDULED
    assert await job.result(PROMPTLY) == "LATER"
    assert loop.time() - started >= DELAY.total_seconds()


async def check_many(running: RunningPool) -> None:
    texts = [str(number) for number in range(500)]
    jobs = await running.publisher(Upper).publish_many(Upper.Message(text=text) for text in texts)
    assert [await job.result(PATIENCE) for job in jobs] == texts


async def check_flows(running: RunningPool) -> None:
    steps = chain(photos.Fetch).then(photos.Resize).then(photos.Upload)
    fetches = running.publisher(photos.Fetch)
    flow = await fetches.publish_chain(steps, photos.Fetch.Message(url="abc"))
    group = await running.publisher(photos.Part).publish_group(
        [photos.Part.Message(number=number) for number in (1, -1)], then=photos.Collect
    )
    assert await flow.result(PATIENCE) == "uploaded 3"
    assert await group.result(PATIENCE) == "[2, None] [(1, 'failed')]"
    cancelled = await fetches.publish_chain(steps, photos.Fetch.Message(url="b"), delay=PATIENCE)
    assert await cancelled.cancel()
    assert [await job.state() for job in cancelled.jobs] == [JobState.CANCELLED] * 3


async def check_prompt_start(running: RunningPool, servers: list[RedisServer]) -> None:
    for message, result in [
        (Echo.Message(text="a"), "a on attempt 1"),
        (Upper.Message(text="a"), "A"),
        (Length.Message(text="a"), 1),
    ] * 2:
        # Right after a job, the pool has only begun to wait: without its token it would go on.
        await wait_until(lambda: all(is_waited_on(server) for server in servers))
        job = await running.publish(message)
        assert await job.result(PROMPTLY) == result


def is_waited_on(server: RedisServer) -> bool:
    with server.client() as admin:
        information = admin.execute_command("INFO", "clients")
    return bool(information["blocked_clients"])


class TestOnOneServer:
    async def test_a_unix_socket(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start(on_unix_socket=True)

        await check_all_work(server.dsn, [server])

    async def test_resp3(self, redis_servers: RedisServers) -> None:
        server = redis_servers.start()

        await check_all_work(f"redis://127.0.0.1:{server.port}?protocol=3", [server])

    async def test_tls(self, redis_servers: RedisServers, tmp_path: Path) -> None:
        async with tls_server(redis_servers, tmp_path) as (server, port):
            dsn = f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"

            await check_all_work(dsn, [server])


class TestSentinel:
    async def test_what_was_published_before_and_after_a_failover_is_done(
        self, redis_servers: RedisServers, tmp_path: Path
    ) -> None:
        gate = asyncio.Event()
        waiting = gated("waiting", gate)
        password = {"requirepass": "p", "masterauth": "p"}
        first = redis_servers.start(config={**password, "repl-diskless-sync-delay": "0"})
        master = ("127.0.0.1", str(first.port))
        second = redis_servers.start(config={**password, "replicaof": master})
        with running_sentinel(tmp_path, first) as sentinel:
            async with running_pool(sentinel.dsn(), Echo, waiting) as running:
                done = await running.publish(Echo.Message(text="before"))
                assert await done.result(PATIENCE) == "before on attempt 1"
                started = await running.publish(waiting.Message())
                await wait_until(lambda: running.pool.running == 1)
                scheduled = await running.publish(Echo.Message(text="due"), delay=DELAY)
                await wait_until(lambda: offset_of(second) == offset_of(first))

                first.kill()
                with second.client() as admin:
                    admin.execute_command("REPLICAOF", "NO", "ONE")
                sentinel.point_to(second)
                after = await running.publish(Echo.Message(text="after"))
                gate.set()

                assert await after.result(PATIENCE) == "after on attempt 1"
                assert await scheduled.result(PATIENCE) == "due on attempt 1"
                assert await started.result(PATIENCE) == 1
                assert await done.state() is JobState.SUCCEEDED


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """A cluster of three masters, which takes seconds to start."""
    if find_redis_server() is None:
        skip_or_fail("redis-server is not on PATH")
    with RedisServers(tmp_path_factory.mktemp("cluster")) as servers:
        yield start_cluster(servers, masters=3)


@pytest.fixture
def cluster(nodes: list[RedisServer]) -> Iterator[str]:
    """The address of that cluster, empty; fails a test that leaks keys."""
    for node in nodes:
        with node.client() as admin:
            admin.execute_command("FLUSHALL")
    yield cluster_dsn(nodes)
    for node in nodes:
        with node.client() as admin:
            assert find_leaks(admin) == []


# redis-py leaves the connections of nodes that it replaces to the garbage collector:
# https://github.com/redis/redis-py/issues/3572
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestCluster:
    @pytest.fixture(autouse=True)
    def _collect_garbage(self) -> Iterator[None]:
        yield
        gc.collect()

    @pytest.mark.parametrize("protocol", [2, 3])
    async def test_queues_of_several_shards_are_served_by_one_pool(
        self, cluster: str, nodes: list[RedisServer], protocol: int
    ) -> None:
        await check_all_work(f"{cluster}?protocol={protocol}", nodes)

        assert [queues_on(node) for node in nodes] == [{"upper"}, {"length"}, {"echo"}]

    async def test_the_first_commands_of_a_client_may_come_all_at_once(self, cluster: str) -> None:
        async with Connections(parse_dsn(cluster)) as connections:
            client: Any = connections.worker
            answers = await asyncio.gather(
                *(
                    client.execute_command("EVAL", "return 1", 1, f"{{{queue}}}")
                    for queue in QUEUES * 5
                )
            )

        assert answers == [1] * 15

    @pytest.mark.slow
    async def test_a_lost_shard_takes_no_queue_of_the_others_with_it(
        self, redis_servers: RedisServers
    ) -> None:
        own = start_cluster(redis_servers, masters=3)
        for node in own:
            with node.client() as admin:
                admin.execute_command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        gate = asyncio.Event()
        long = gated("length", gate)
        consumers = (Upper, long, Echo)
        async with (
            running_pool(cluster_dsn(own[1:]), *consumers, lease=LEASE) as running,
            running_pool(cluster_dsn(own[1:]), *consumers, lease=LEASE) as rival,
        ):
            job = await running.publish(long.Message())
            await wait_until(lambda: running.pool.running + rival.pool.running == 1)
            own[0].kill()
            holder, end = max(leases_on(own[1]).items())

            for number in range(5):
                done = await running.perform(Echo.Message(text=str(number)))
                assert done == f"{number} on attempt 1"

            def has_been_renewed() -> bool:
                return leases_on(own[1])[holder] > end + 3 * LEASE / MILLISECOND

            await wait_until(has_been_renewed)
            assert running.pool.running + rival.pool.running == 1
            gate.set()
            assert await job.result(PATIENCE) == 1
            own[0].start()
            record = await job.info()

        assert record is not None
        assert (record.attempts, record.losses) == (1, 0)

    async def test_a_slot_that_is_moved_takes_its_queue_along_in_one_piece(
        self, cluster: str, nodes: list[RedisServer]
    ) -> None:
        moved = gated("moved", asyncio.Event())
        slot = key_slot(queue_prefix("moved").encode())
        (source,) = [node for node in nodes if holds_slot(node, slot)]
        target = next(node for node in nodes if node is not source)
        async with running_pool(cluster, Echo) as running:
            publisher: Publisher[Any] = running.publisher(moved)
            jobs = [await publisher.publish(moved.Message()) for _ in range(5)]
            with source.client() as old, target.client() as new:
                begin_move(slot, old, new)
                during = asyncio.create_task(publisher.publish(moved.Message()))
                with pytest.raises(BrokerUnavailableError):
                    await jobs[0].state()
                is_published = during.done()
                finish_move(slot, old, new, target)
            jobs.append(await during)
            states = [await job.state() for job in jobs]
            async with running_pool(cluster, moved) as other:
                await wait_until(lambda: other.pool.running == 6)
                for job in jobs:
                    assert await job.state() is JobState.RUNNING
                other.pool.stop_now()

        assert not is_published
        assert states == [JobState.QUEUED] * 6

    async def test_a_stopped_pool_hands_back_what_runs_on_each_shard(self, cluster: str) -> None:
        gate = asyncio.Event()
        consumers = [gated(queue, gate) for queue in QUEUES]
        async with running_pool(cluster, *consumers, grace_period=timedelta()) as stopped:
            jobs = [await stopped.publish(consumer.Message()) for consumer in consumers]
            await wait_until(lambda: stopped.pool.running == len(QUEUES))
            await stopped.pool.stop()
            states = [await job.state() for job in jobs]
            async with running_pool(cluster, *consumers) as running:
                gate.set()
                attempts = [await job.result(PATIENCE) for job in jobs]
                assert running.pool.running == 0

        assert states == [JobState.QUEUED] * len(QUEUES)
        assert attempts == [1] * len(QUEUES)

    async def test_what_runs_on_each_shard_is_cancelled_also_without_a_free_slot(
        self, cluster: str
    ) -> None:
        consumers = [gated(queue, asyncio.Event()) for queue in QUEUES]
        full = [ConsumerConfig(consumer_class=consumer, count=1) for consumer in consumers]
        async with running_pool(cluster, *full) as running:
            jobs = [await running.publish(consumer.Message()) for consumer in consumers]
            await wait_until(lambda: running.pool.running == len(QUEUES))
            for job in jobs:
                assert await job.cancel()
                with pytest.raises(JobCancelledError):
                    await job.result(timedelta(seconds=1))

    @pytest.mark.slow
    async def test_the_lease_on_each_shard_is_renewed_while_a_job_blocks_the_event_loop(
        self, cluster: str, nodes: list[RedisServer]
    ) -> None:
        class Blocking(BaseConsumer):
            QUEUE = "upper"

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message, context: JobContext) -> int:
                first = [leases_on(node) for node in nodes]

                def have_moved() -> bool:
                    return all(
                        leases_on(node)[lease] > end + 2 * LEASE / MILLISECOND
                        for node, leases in zip(nodes, first, strict=True)
                        for lease, end in leases.items()
                    )

                wait_until_blocking(have_moved)
                return context.attempt

        async with running_pool(cluster, Blocking, Length, Echo, lease=LEASE) as running:
            await wait_until(lambda: all(leases_on(node) for node in nodes))
            assert await running.perform(Blocking.Message()) == 1

    @pytest.mark.slow
    async def test_what_a_lost_process_held_on_each_shard_is_taken_back(self, cluster: str) -> None:
        consumers = (Upper, Length, Echo)
        async with running_pool(cluster, gated("other", asyncio.Event())) as bystander:
            jobs = [await bystander.publish(consumer.Message(text="a")) for consumer in consumers]
            broker = Broker(bystander.broker.connections, EngineSettings(lease=LEASE))
            lost = WorkerBroker(broker.connections, broker.settings, broker.clock)
            held: list[str] = []
            for queue in QUEUES:
                await lost.renew({queue: "lost"})
                claimed = await lost.claim([Want(queue, "lost", 1, 1)])
                held += [delivery.queue for delivery in claimed.deliveries]
            async with running_pool(cluster, *consumers, lease=LEASE):
                results = [await job.result(PATIENCE) for job in jobs]

        assert held == list(QUEUES)
        assert results == ["A", 1, "a on attempt 1"]


def queues_on(node: RedisServer) -> set[str]:
    """Return the queues that have keys on a node."""
    with node.client() as admin:
        keys = admin.execute_command("KEYS", "*")
    return {queue for queue in QUEUES for key in keys if key.startswith(queue_prefix(queue))}


def leases_on(node: RedisServer) -> dict[tuple[str, str], float]:
    """Return when the leases on a node end, by queue and holder."""
    ends: dict[tuple[str, str], float] = {}
    with node.client() as admin:
        for queue in QUEUES:
            key = f"{queue_prefix(queue)}leases"
            if admin.execute_command("CLUSTER", "COUNTKEYSINSLOT", key_slot(key.encode())):
                for holder in filter(None, admin.execute_command("ZRANGE", key, 0, -1)):
                    ends[queue, holder] = float(admin.execute_command("ZSCORE", key, holder))
    return ends
