"""Queues share the slots of one process by their weights."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    ConsumerPool,
    Job,
    JobState,
    RedispatcherConfig,
)
from tests.pool.metering import metering
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.servers import RedisServer, RedisServers, find_redis_server, skip_or_fail
from tests.topologies import cluster_dsn, start_cluster
from tests.waiting import wait_until

LEASE = timedelta(seconds=1)
#: An idle pool looks by itself only every 5 s.
PROMPTLY = timedelta(seconds=3)


class Stage:
    """What all consumers of a test note, and wait for: each job ends when it is told to."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.running: list[tuple[str, asyncio.Event]] = []
        self.most_at_once = 0

    def consumer(self, queue: str) -> type[BaseConsumer]:
        """Return the consumer of a queue."""
        stage = self

        class Staged(BaseConsumer):
            QUEUE = queue

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None:
                ended = asyncio.Event()
                stage.started[queue] += 1
                stage.running.append((queue, ended))
                stage.most_at_once = max(stage.most_at_once, len(stage.running))
                try:
                    await ended.wait()
                finally:
                    stage.running.remove((queue, ended))

        return Staged

    def config(self, queue: str, *, weight: int = 1, count: int = 50) -> ConsumerConfig:
        """Return the configuration of the consumer of a queue."""
        return ConsumerConfig(consumer_class=self.consumer(queue), weight=weight, count=count)

    def now(self) -> Counter[str]:
        """Return how many jobs of each queue run."""
        return Counter(queue for queue, _ in self.running)

    def has_started(self, jobs: int) -> bool:
        """Tell whether so many jobs have started in all."""
        return self.started.total() >= jobs

    def end(self, count: int = 1, *, queue: str | None = None) -> None:
        """Let the oldest jobs end."""
        for _, ended in [each for each in self.running if queue in {None, each[0]}][:count]:
            ended.set()

    async def turn_over(self, jobs: int, *, at_once: int = 1) -> Counter[str]:
        """Let so many jobs end while the process stays full; return what started for them."""
        before, full = self.started.copy(), len(self.running)
        for _ in range(jobs // at_once):
            goal = self.started.total() + at_once
            self.end(at_once)
            await wait_until(partial(self.has_started, goal))
            assert len(self.running) == full
        return self.started - before


@pytest.fixture
def stage() -> Stage:
    return Stage()


@asynccontextmanager
async def saturated(
    dsn: str, stage: Stage, concurrency: int, *configs: ConsumerConfig, jobs: int = 200
) -> AsyncGenerator[RunningPool]:
    """Run a full process with jobs of each queue waiting, once its slots have changed hands."""
    async with running_pool(
        dsn, *configs, concurrency=concurrency, grace_period=timedelta()
    ) as running:
        for config in configs:
            await publish(running, config, jobs)
        await wait_until(lambda: len(stage.running) == concurrency)
        await stage.turn_over(3 * concurrency)
        yield running


async def publish(running: RunningPool, config: ConsumerConfig, count: int = 1) -> list[Job[Any]]:
    messages = [config.consumer_class.Message() for _ in range(count)]
    return await running.publisher(config.consumer_class).publish_many(messages)


async def test_full_queues_share_the_slots_by_weight(redis_dsn: str, stage: Stage) -> None:
    heavy, light = stage.config("heavy", weight=3), stage.config("light")

    async with saturated(redis_dsn, stage, 10, heavy, light):
        started = await stage.turn_over(80)

        assert started["heavy"] == pytest.approx(60, abs=3)
        assert stage.now()["heavy"] in {7, 8}
    assert stage.most_at_once == 10


async def test_jobs_that_never_end_leave_the_others_their_share(
    redis_dsn: str, stage: Stage
) -> None:
    quick, stuck = stage.config("quick", weight=3), stage.config("stuck")

    async with saturated(redis_dsn, stage, 10, quick, stuck):
        for _ in range(40):
            goal = stage.started.total() + 1
            stage.end(queue="quick")
            await wait_until(partial(stage.has_started, goal))

        assert stage.now() == {"quick": 7, "stuck": 3}


async def test_a_queue_without_work_leaves_all_slots_to_the_others(
    redis_dsn: str, stage: Stage
) -> None:
    busy, idle = stage.config("busy"), stage.config("idle", weight=100)

    async with running_pool(
        redis_dsn, busy, idle, concurrency=6, grace_period=timedelta()
    ) as running:
        await publish(running, busy, 60)
        await wait_until(lambda: stage.now()["busy"] == 6)
        await stage.turn_over(50)

    assert stage.started == {"busy": 56}


async def test_a_small_weight_is_not_starved_by_a_flood(redis_dsn: str, stage: Stage) -> None:
    flood, small = stage.config("flood", weight=20), stage.config("small")

    async with saturated(redis_dsn, stage, 2, flood, small):
        started = await stage.turn_over(84)

    assert started["small"] == pytest.approx(4, abs=1)


async def test_a_job_of_a_queue_that_was_empty_gets_one_of_the_next_slots_of_a_full_process(
    redis_dsn: str, stage: Stage
) -> None:
    flood, rare = stage.config("flood"), stage.config("rare")

    async with running_pool(
        redis_dsn, flood, rare, concurrency=2, grace_period=timedelta()
    ) as running:
        await publish(running, flood, 100)
        await wait_until(lambda: stage.now()["flood"] == 2)
        await stage.turn_over(10)
        await publish(running, rare)
        turns = 0
        while not stage.started["rare"]:
            turns += 1
            await stage.turn_over(1)

    # It is asked again after 10 ms, and what the flood has waiting would last for ninety turns.
    assert turns <= 10


async def test_with_one_slot_queues_take_turns(redis_dsn: str, stage: Stage) -> None:
    configs = [stage.config(queue) for queue in ("one", "two", "three")]

    async with saturated(redis_dsn, stage, 1, *configs, jobs=20):
        started = await stage.turn_over(30)

    assert set(started.values()) == {10}
    assert stage.most_at_once == 1


async def test_a_count_is_still_a_ceiling(redis_dsn: str, stage: Stage) -> None:
    few, many = stage.config("few", weight=100, count=2), stage.config("many")

    async with saturated(redis_dsn, stage, 6, few, many):
        await stage.turn_over(12)

        assert stage.now() == {"few": 2, "many": 4}


async def test_a_job_starts_at_once_in_a_process_with_a_free_slot(
    redis_dsn: str, stage: Stage
) -> None:
    configs = [stage.config(f"queue-{number}") for number in range(8)]

    async with running_pool(redis_dsn, *configs, concurrency=2) as running:
        for _ in range(2):
            for config in configs:
                (job,) = await publish(running, config)
                await wait_until(lambda: len(stage.running) == 1, timeout=PROMPTLY)
                stage.end()
                await job.result(PATIENCE)


async def test_a_slot_that_one_queue_leaves_goes_to_another_at_once(
    redis_dsn: str, stage: Stage
) -> None:
    single, flood = stage.config("single"), stage.config("flood")

    async with running_pool(
        redis_dsn, single, flood, concurrency=4, grace_period=timedelta()
    ) as running:
        # Two were asked for, and one came: there are no more.
        await publish(running, single)
        await wait_until(lambda: stage.now()["single"] == 1)
        await publish(running, flood, 20)
        await wait_until(lambda: stage.now()["flood"] == 3)
        stage.end(queue="single")
        await wait_until(lambda: stage.now() == {"flood": 4}, timeout=PROMPTLY)


async def test_a_burst_with_a_limit_leaves_nothing_behind(redis_dsn: str) -> None:
    class Second(BaseConsumer):
        QUEUE = "second"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None: ...

    class First(BaseConsumer):
        QUEUE = "first"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            await running.publish(Second.Message())

    class Other(First):
        QUEUE = "other"

    async with running_pool(redis_dsn, Other) as running:
        for _ in range(7):
            await running.publish(First.Message())
        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Second, First], concurrency=1)
        await ConsumerPool(config, broker=running.broker).run(burst=True)
        counts = [await running.broker.count_jobs(queue) for queue in ("first", "second")]

    assert [count[JobState.SUCCEEDED] for count in counts] == [7, 7]


@pytest.mark.redis
async def test_a_full_process_takes_no_tokens_and_an_idle_one_does_not_ask_without_end(
    redis_servers: RedisServers, stage: Stage
) -> None:
    server = redis_servers.start()
    busy, *others = [stage.config(queue) for queue in ("busy", *"abcdefgh")]
    async with running_pool(
        server.dsn, busy, *others, concurrency=2, grace_period=timedelta()
    ) as running:
        await publish(running, busy, 2)
        await wait_until(lambda: len(stage.running) == 2)
        with metering(server) as meter:
            for other in others:
                await publish(running, other)
            await wait_until(lambda: all(is_there(server, f"rd:{{{q}}}:wake") for q in "abcdefgh"))

    # It waits no longer after the one token that it waited for already.
    assert meter.requests["evalsha"] <= len(others) + 4


def is_there(server: RedisServer, key: str) -> bool:
    with server.client() as client:
        return bool(client.execute_command("EXISTS", key))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """A cluster of three masters, on which the queues upper, length and echo are apart."""
    if find_redis_server() is None:
        skip_or_fail("redis-server is not on PATH")
    with RedisServers(tmp_path_factory.mktemp("cluster")) as servers:
        yield start_cluster(
            servers, masters=3, config={"cluster-require-full-coverage": "no", "appendonly": "yes"}
        )


@pytest.mark.redis
@pytest.mark.slow
# redis-py leaves the connections of nodes that it replaces to the garbage collector:
# https://github.com/redis/redis-py/issues/3572
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestCluster:
    """Each queue is claimed from by a call of its own."""

    @pytest.fixture
    def cluster(self, nodes: list[RedisServer]) -> Iterator[str]:
        """The address of an empty cluster."""
        for node in nodes:
            with node.client() as admin:
                admin.execute_command("FLUSHALL")
        yield cluster_dsn(nodes[1:])
        gc.collect()

    async def test_queues_on_several_shards_share_the_slots(
        self, cluster: str, stage: Stage
    ) -> None:
        heavy, light = stage.config("upper", weight=3), stage.config("length")
        idle = stage.config("echo", weight=100)

        async with (
            running_pool(cluster, idle, concurrency=1) as other,
            saturated(cluster, stage, 10, heavy, light) as running,
        ):
            started = await stage.turn_over(60)
            assert other.pool.running == 0
            assert running.pool.running == 10

        assert started["upper"] == pytest.approx(45, abs=4)
        assert stage.most_at_once == 10

    async def test_a_free_slot_is_open_to_every_shard(self, cluster: str, stage: Stage) -> None:
        configs = [stage.config(queue) for queue in ("upper", "length", "echo")]

        async with running_pool(cluster, *configs, concurrency=1) as running:
            for config in configs * 3:
                jobs = await publish(running, config, 2)
                for job in jobs:
                    await wait_until(lambda: len(stage.running) == 1, timeout=PROMPTLY)
                    stage.end()
                    await job.result(PATIENCE)

        assert stage.most_at_once == 1

    async def test_a_lost_shard_keeps_no_slots(
        self, cluster: str, nodes: list[RedisServer], stage: Stage
    ) -> None:
        lost, alive = stage.config("upper", weight=100), stage.config("length")

        async with running_pool(
            cluster, lost, alive, concurrency=2, lease=LEASE, grace_period=timedelta()
        ) as running:
            await wait_until(lambda: running.pool.health.redis_latency is not None)
            await publish(running, lost, 6)
            await publish(running, alive, 20)
            await wait_until(lambda: len(stage.running) == 2)
            nodes[0].kill()
            await wait_until(lambda: not running.pool.health.queues[0].can_claim)
            stage.end(2)
            await wait_until(lambda: stage.now() == {"length": 2})
            await stage.turn_over(6)
            nodes[0].start()
            await wait_until(lambda: running.pool.health.can_claim)
            # What its claim brought at last found no slot, and came back.
            while not stage.now()["upper"]:
                await stage.turn_over(1)

        assert stage.most_at_once == 2
