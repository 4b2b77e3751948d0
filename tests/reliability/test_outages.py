"""Redis that goes away, freezes, refuses, fills up and forgets."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from redispatcher_fastapi import (
    ConsumerPool,
    Job,
    JobState,
    PublishUncertainError,
    QueueFullError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from tests.reliability.jobs import Failing, Quick, Slow, Timed
from tests.reliability.looking import read_record, wait_for_count, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

T = TypeVar("T")

LEASE = timedelta(seconds=1)
OUTAGE = LEASE * 2
PUBLISH_TIMEOUT = timedelta(seconds=1)
#: What a deadline may be late by on a busy machine; far from a hang.
MARGIN = timedelta(seconds=1)


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """A server of the test's own, which keeps what it acknowledged."""
    return redis_servers.start(is_durable=True)


@pytest.fixture
async def publishing(proxy: Proxy) -> AsyncGenerator[Redispatcher]:
    """Publishes on the way that fails, with a short deadline."""
    config = RedispatcherConfig(redis_dsn=proxy.dsn, publish_timeout=PUBLISH_TIMEOUT)
    dispatcher = Redispatcher(config)
    async with dispatcher.lifespan():
        yield dispatcher


@contextmanager
def killed(server: RedisServer, proxy: Proxy) -> Generator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def wedged(server: RedisServer, proxy: Proxy) -> Generator[None]:
    with server.paused():
        yield


@contextmanager
def unreachable(server: RedisServer, proxy: Proxy) -> Generator[None]:
    with proxy.refusing():
        yield


@contextmanager
def read_only(server: RedisServer, proxy: Proxy) -> Generator[None]:
    """Make it the replica of a master that does not answer, as in an unlucky failover."""
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            yield
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")


Outage = Callable[[RedisServer, Proxy], AbstractContextManager[None]]


@pytest.mark.parametrize("outage", [killed, wedged, unreachable, read_only])
async def test_an_outage_longer_than_the_lease_kills_nothing_and_heals_by_itself(
    outage: Outage,
    server: RedisServer,
    proxy: Proxy,
    oracle: Oracle,
    pools: Pools,
    publishing: Redispatcher,
) -> None:
    processes = await pools.start_two(proxy.dsn, Slow, Quick, lease=LEASE)
    seconds = OUTAGE.total_seconds() + 1
    running = await publishing.publisher(Slow).publish_many([Timed.Message(seconds=seconds)] * 4)
    await oracle.wait_for("started", count=len(running))

    with outage(server, proxy):
        begun = time.monotonic()
        errors = await publish_in_vain(publishing)
        await wait_until(lambda: time.monotonic() > begun + OUTAGE.total_seconds())
    repeated = [await publish_again(publishing, error) for error in errors]

    await wait_for_count(publishing, Slow, JobState.SUCCEEDED, len(running))
    assert set(oracle.starts_per_job(job.id for job in running).values()) == {1}
    assert {(await read_record(job)).losses for job in running} == {0}
    for jobs in repeated:
        for job in jobs:
            await wait_for_state(job, JobState.SUCCEEDED)
            assert len(oracle.entries("started", job.id)) == 1
    assert [process.log for process in processes if not process.is_alive] == []
    assert len(oracle.entries("ready")) == 2


async def test_connections_that_break_at_any_moment_end_no_pool(
    server: RedisServer, proxy: Proxy, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    # Long enough that some renewal gets through.
    processes = await pools.start_two(proxy.dsn, Slow, lease=timedelta(seconds=10))
    jobs: list[Job[int]] = []
    for _ in range(25):
        jobs += await dispatcher.publisher(Slow).publish_many([Timed.Message(seconds=0.02)] * 20)
        await oracle.wait_for("finished", count=len(jobs) // 2)
        # While connections are being made, tried again and used: none of it may be taken badly.
        for _ in range(5):
            with proxy.refusing():
                await asyncio.sleep(random.uniform(0, 0.02))
            await asyncio.sleep(random.uniform(0, 0.02))
        assert [process.log for process in processes if not process.is_alive] == []
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {1}
    assert [process.log for process in processes if not process.is_alive] == []


async def test_a_restart_of_redis_starts_no_job_twice_and_loses_none(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    processes = await pools.start_two(server.dsn, Slow)
    publisher = dispatcher.publisher(Slow)
    jobs = await publisher.publish_many([Timed.Message(seconds=0.3)] * 80)
    jobs += await publisher.publish_many([Timed.Message()] * 10, delay=timedelta(milliseconds=500))
    for finished in (10, 40):
        await oracle.wait_for("finished", count=finished)
        server.kill()
        server.start()
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {1}
    assert [process.log for process in processes if not process.is_alive] == []


async def test_a_full_redis_refuses_publishers_at_once_and_lets_pools_drain(
    server: RedisServer, oracle: Oracle, pools: Pools, publishing: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Slow, Failing)
    slow, failing = publishing.publisher(Slow), publishing.publisher(Failing)
    message = Timed.Message(seconds=0.5)
    drained: list[Job[Any]] = [*await slow.publish_many([message] * 20)]
    drained += await slow.publish_many([message] * 5, delay=timedelta(seconds=1))
    drained += await failing.publish_many([Failing.Message(errors=["value"])] * 5)
    await oracle.wait_for("started", count=10)

    with server.client() as client:
        client.execute_command("CONFIG", "SET", "maxmemory", "1")
        for publish in (
            lambda: slow.publish(message),
            lambda: slow.publish_many([message] * 10),
            lambda: slow.publish(message, delay=timedelta(hours=1)),
        ):
            error, seconds = await fail_to(publish)
            assert isinstance(error, QueueFullError)
            assert seconds < MARGIN.total_seconds()
        await wait_for_count(publishing, Slow, JobState.SUCCEEDED, 25)
        await wait_for_count(publishing, Failing, JobState.SUCCEEDED, 5)
        client.execute_command("CONFIG", "SET", "maxmemory", "0")

    starts = oracle.starts_per_job(job.id for job in drained)
    assert sorted(starts.values()) == [1] * 25 + [2] * 5
    # Sooner than the pool would look by itself: full or not, it waits for the tokens it needs.
    assert await (await slow.publish(message)).result(timedelta(seconds=3)) == pool.pid


async def test_a_flushed_redis_is_survived_and_the_lost_job_is_reported(
    server: RedisServer, oracle: Oracle, pools: Pools, publishing: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Slow, Quick)
    running = await publishing.publisher(Slow).publish(Timed.Message(seconds=1))
    await oracle.wait_for("started", running.id)

    with server.client() as client:
        client.execute_command("FLUSHALL")
        client.execute_command("SCRIPT", "FLUSH")

    assert await run_quick(publishing) == pool.pid
    await oracle.wait_for("finished", running.id)
    await pool.wait_for_log("was refused: Redis does not know it any more")
    assert [event["job_id"] for event in pool.events("job.refused")] == [running.id]
    assert await run_quick(publishing) == pool.pid
    assert await running.state() is None


async def test_half_open_connections_are_noticed_and_cost_neither_lease_nor_job(
    server: RedisServer, proxy: Proxy, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    config = RedispatcherConfig(
        redis_dsn=proxy.dsn, consumers=[Slow, Quick], lease=timedelta(seconds=1.5)
    )
    # Without a reply for two seconds, a connection is given up; the default is five.
    no_reply = timedelta(seconds=2)
    async with (
        Connections(config.dsn, command_timeout=no_reply) as connections,
        asyncio.TaskGroup() as tasks,
    ):
        pool = ConsumerPool(config, broker=Broker(connections, config.engine_settings()))
        tasks.create_task(pool.run())
        running = await dispatcher.publisher(Slow).publish(Timed.Message(seconds=8))
        await oracle.wait_for("started", running.id)
        rival = await pools.start(server.dsn, Slow, lease=config.lease)

        proxy.silence_all()

        # The wake-up is lost on the way: blocked for five seconds, no reply, claimed, no reply.
        job = await dispatcher.publisher(Quick).publish(Quick.Message())
        bound = timedelta(seconds=5) + 2 * no_reply + timedelta(seconds=2)
        assert await job.result(bound) == os.getpid()
        assert await running.result(PATIENCE) == os.getpid()
        await pool.stop()
    assert len(oracle.entries("started", running.id)) == 1
    assert oracle.entries("started", pid=rival.pid) == []


async def test_a_pool_that_starts_before_redis_waits_for_it(
    server: RedisServer, pools: Pools, publishing: Redispatcher
) -> None:
    server.stop()
    pool = pools.begin(server.dsn, Quick)
    await pool.wait_for_log("Redis cannot be reached, trying again")

    server.start()

    await pool.wait_until_ready()
    assert await run_quick(publishing) == pool.pid


async def test_a_slow_link_delays_jobs_and_loses_nothing(
    proxy: Proxy, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    await pools.start(proxy.dsn, Slow)
    with proxy.delaying(0.15):
        jobs = await dispatcher.publisher(Slow).publish_many([Timed.Message(seconds=0.05)] * 50)
        await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {1}


async def publish_in_vain(dispatcher: Redispatcher) -> list[PublishUncertainError]:
    """Publish in every way while Redis is away; return what each way raised, all in time."""
    publisher = dispatcher.publisher(Quick)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: publisher.publish(Quick.Message()),
        lambda: publisher.publish(Quick.Message()),
        lambda: publisher.publish(Quick.Message(), delay=timedelta(seconds=1)),
        lambda: publisher.publish_many([Quick.Message()] * 3),
    ]
    errors: list[PublishUncertainError] = []
    for error, seconds in await asyncio.gather(*(fail_to(way) for way in ways)):
        assert isinstance(error, PublishUncertainError)
        assert seconds < (PUBLISH_TIMEOUT + MARGIN).total_seconds()
        errors.append(error)
    return errors


async def fail_to(act: Callable[[], Awaitable[object]]) -> tuple[Exception, float]:
    """Return what an operation raised, and after how many seconds."""
    begun = time.monotonic()
    try:
        await act()
    except Exception as error:
        return error, time.monotonic() - begun
    raise AssertionError("it did not fail")


async def publish_again(dispatcher: Redispatcher, error: PublishUncertainError) -> list[Job[int]]:
    """Do what the error advises."""
    publisher = dispatcher.publisher(Quick)
    return [await publisher.publish(Quick.Message(), id=job_id) for job_id in error.job_ids]


async def run_quick(dispatcher: Redispatcher) -> int:
    job = await dispatcher.publisher(Quick).publish(Quick.Message())
    return await job.result(PATIENCE)
