"""What work costs, counted in requests to Redis and in commands of its scripts.

Not timing: these fail when a change makes the hot path ask Redis more often, on any machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, RedispatcherConfig
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.publisher import Publisher, Publishers
from tests.pool.metering import metering
from tests.pool.running import running_pool
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

JOBS = 1_000


class Counted(BaseConsumer):
    QUEUE = "counted"
    ended = 0

    class Message(BaseConsumer.Message):
        number: int = 0

    async def process_message(self, message: Message) -> None:
        Counted.ended += 1


class Occupied(BaseConsumer):
    QUEUE = "occupied"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await asyncio.sleep(600)


MESSAGES = [Counted.Message(number=number) for number in range(JOBS)]


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


@asynccontextmanager
async def publishing(server: RedisServer) -> AsyncGenerator[Publisher[Counted]]:
    """A publisher without a pool, with its connection and its script in place."""
    config = RedispatcherConfig(redis_dsn=server.dsn, consumers=[Counted])
    async with (
        Connections(config.dsn) as connections,
        Sender(Broker(connections, config.engine_settings())) as sender,
    ):
        publisher = Publishers(sender, max_message_bytes=1000).publisher(Counted)
        await publisher.publish(MESSAGES[0])
        yield publisher


class TestPublishing:
    async def test_one_job_is_one_request_of_few_commands(self, server: RedisServer) -> None:
        async with publishing(server) as publisher:
            with metering(server) as meter:
                await publisher.publish(MESSAGES[0])

        assert meter.requests == {"evalsha": 1}
        assert meter.inside_scripts.total() <= 8

    async def test_a_delayed_job_is_one_request(self, server: RedisServer) -> None:
        async with publishing(server) as publisher:
            with metering(server) as meter:
                await publisher.publish(MESSAGES[0], delay=timedelta(hours=1))

        assert meter.requests == {"evalsha": 1}
        assert meter.inside_scripts.total() <= 10

    async def test_a_thousand_jobs_at_once_are_one_request_of_few_commands(
        self, server: RedisServer
    ) -> None:
        async with publishing(server) as publisher:
            with metering(server) as meter:
                await publisher.publish_many(MESSAGES)

        assert meter.requests == {"evalsha": 1}
        assert meter.inside_scripts.total() <= 10

    async def test_a_hundred_callers_share_requests(self, server: RedisServer) -> None:
        async with publishing(server) as publisher:
            with metering(server) as meter:
                await asyncio.gather(*(publisher.publish(message) for message in MESSAGES[:100]))

        # The first that comes goes alone; all that come meanwhile go together.
        assert meter.round_trips <= 3


class TestRunning:
    async def test_a_backlog_costs_a_twentieth_of_a_request_per_job(
        self, server: RedisServer
    ) -> None:
        consumers = ConsumerConfig(consumer_class=Counted, count=100)
        async with publishing(server) as publisher:
            await publisher.publish_many(MESSAGES[1:])

        Counted.ended = 0
        with metering(server) as meter:
            async with running_pool(server.dsn, consumers):
                await wait_until(lambda: Counted.ended == JOBS)

        assert meter.round_trips <= JOBS / 20 + 10  # and 10 to begin and to end
        assert meter.inside_scripts.total() <= 0.8 * JOBS

    async def test_jobs_due_at_the_same_time_cost_no_more_than_queued_ones(
        self, server: RedisServer
    ) -> None:
        consumers = ConsumerConfig(consumer_class=Counted, count=100)
        async with running_pool(server.dsn, consumers) as running:
            publisher = running.publisher(Counted)
            await warm_up(publisher)
            with metering(server) as meter:
                await publisher.publish_many(MESSAGES, delay=timedelta(milliseconds=500))
                await wait_until(lambda: Counted.ended == JOBS)

        assert meter.round_trips <= JOBS / 20 + 10
        assert meter.inside_scripts.total() <= 0.8 * JOBS


@pytest.mark.slow
class TestWaiting:
    async def test_an_idle_pool_of_fifty_queues_asks_at_most_once_a_second(
        self, server: RedisServer
    ) -> None:
        async with running_pool(server.dsn, Counted, *many_consumers(49)) as running:
            await warm_up(running.publisher(Counted))
            with metering(server) as meter:
                await asyncio.sleep(10)  # the span that is measured

        assert meter.round_trips <= 10

    async def test_a_full_pool_that_listens_for_cancellations_asks_as_rarely(
        self, server: RedisServer
    ) -> None:
        full = ConsumerConfig(consumer_class=Counted, count=1)
        async with running_pool(server.dsn, full, Occupied) as running:
            occupied = running.publisher(Occupied)
            jobs = await occupied.publish_many([Occupied.Message()] * 20)
            await wait_until(lambda: running.pool.running == 10)
            with metering(server) as meter:
                await asyncio.sleep(5)  # the span that is measured
            for job in jobs:
                await job.cancel()

        assert meter.round_trips <= 5

    async def test_waiting_for_a_delayed_job_costs_nothing_more(self, server: RedisServer) -> None:
        async with running_pool(server.dsn, Counted) as running:
            publisher = running.publisher(Counted)
            await warm_up(publisher)
            await publisher.publish(MESSAGES[0], delay=timedelta(seconds=3))

            with metering(server) as meter:
                await wait_until(lambda: Counted.ended == 1)

        assert meter.round_trips <= 3 + 5


async def warm_up(publisher: Publisher[Counted]) -> None:
    """Run one job, which takes the connections and scripts that later ones find."""
    Counted.ended = 0
    await publisher.publish(MESSAGES[0])
    await wait_until(lambda: Counted.ended == 1)
    Counted.ended = 0


def many_consumers(count: int) -> list[type[BaseConsumer]]:
    """Return consumers of as many queues."""

    def make(number: int) -> type[BaseConsumer]:
        class Idle(BaseConsumer):
            QUEUE = f"idle-{number}"

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None: ...

        return Idle

    return [make(number) for number in range(count)]
