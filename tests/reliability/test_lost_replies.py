"""Replies that are lost after Redis did what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerPool,
    Inspector,
    Job,
    JobState,
    OnConflict,
    Redispatcher,
    RedispatcherConfig,
    Unique,
)
from redispatcher_fastapi.broker.scripts import ACK, CLAIM, FAIL, PUBLISH, RELEASE, RENEW, Script
from tests.reliability.jobs import Failing, Quick, Slow
from tests.reliability.looking import read_record, wait_for_count
from tests.reliability.oracle import Oracle
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
async def publishing(proxy: Proxy) -> AsyncGenerator[Redispatcher]:
    """Publishes through the proxy, to a server that knows the script already."""
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=proxy.dsn))
    async with dispatcher.lifespan():
        await dispatcher.publisher(Slow).publish(Slow.Message())
        yield dispatcher


@asynccontextmanager
async def pool_behind(proxy: Proxy, *consumers: type[BaseConsumer]) -> AsyncGenerator[ConsumerPool]:
    """Run a pool whose way to Redis leads through the proxy, inside of the test."""
    config = RedispatcherConfig(
        redis_dsn=proxy.dsn, consumers=consumers, lease=timedelta(seconds=3)
    )
    pool = ConsumerPool(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.run())
        try:
            yield pool
        finally:
            await pool.stop()


async def test_a_publish_whose_reply_was_lost_leaves_exactly_one_job(
    proxy: Proxy, publishing: Redispatcher
) -> None:
    publisher = publishing.publisher(Quick)
    jobs: list[Job[int]] = []
    for lost in range(1, 11):
        proxy.cut_replies(PUBLISH.digest, times=1)
        jobs.append(await publisher.publish(Quick.Message()))
        assert proxy.cuts == lost

    assert await count_queued(publishing.inspector, Quick) == len({job.id for job in jobs}) == 10
    # A new id is new, whatever the answer to the repetition was.
    assert {job.created for job in jobs} == {True}


@pytest.mark.parametrize("on_conflict", OnConflict)
async def test_a_unique_publish_whose_reply_was_lost_meets_its_own_job(
    proxy: Proxy, publishing: Redispatcher, on_conflict: OnConflict
) -> None:
    publisher = publishing.publisher(Quick)
    unique, later = Unique(on_conflict=on_conflict), timedelta(hours=1)
    proxy.cut_replies(PUBLISH.digest, times=2)

    first = await publisher.publish(Quick.Message(), delay=later, unique=unique)
    second = await publisher.publish(Quick.Message(), delay=later, unique=Unique())

    assert proxy.cuts == 2
    assert (first.created, second.id, second.created) == (True, first.id, False)


async def test_a_publish_of_many_whose_reply_was_lost_leaves_exactly_one_job_each(
    proxy: Proxy, publishing: Redispatcher
) -> None:
    proxy.cut_replies(PUBLISH.digest, times=3)

    jobs = await publishing.publisher(Quick).publish_many([Quick.Message()] * 2500)

    assert proxy.cuts == 3
    assert await count_queued(publishing.inspector, Quick) == len({job.id for job in jobs}) == 2500
    assert {job.created for job in jobs} == {True}


async def test_concurrent_publishes_whose_shared_replies_were_lost_leave_one_job_each(
    proxy: Proxy, publishing: Redispatcher
) -> None:
    publisher = publishing.publisher(Quick)
    proxy.cut_replies(PUBLISH.digest, times=3)

    jobs = await asyncio.gather(*(publisher.publish(Quick.Message()) for _ in range(500)))

    assert proxy.cuts == 3
    assert await count_queued(publishing.inspector, Quick) == len({job.id for job in jobs}) == 500


async def test_a_publish_of_many_that_fills_the_queue_is_recognised_after_a_lost_reply(
    proxy: Proxy, server: RedisServer
) -> None:
    full = Redispatcher(RedispatcherConfig(redis_dsn=proxy.dsn, max_queue_length=100))
    async with full.lifespan():
        await full.publisher(Slow).publish(Slow.Message())
        proxy.cut_replies(PUBLISH.digest, times=1)

        jobs = await full.publisher(Quick).publish_many([Quick.Message()] * 100)

        assert proxy.cuts == 1
        assert await count_queued(full.inspector, Quick) == len(jobs) == 100


async def test_lost_replies_to_claims_and_acknowledgements_neither_lose_nor_repeat_a_job(
    proxy: Proxy, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    slow = Slow.Message(seconds=0.03)
    async with pool_behind(proxy, Slow):
        jobs = [await dispatcher.publisher(Slow).publish(slow)]
        await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, 1)
        for script in (CLAIM, ACK) * 3:
            already = proxy.cuts
            proxy.cut_replies(script.digest, times=3)
            jobs += await dispatcher.publisher(Slow).publish_many([slow] * 40)
            await wait_until_cut(proxy, already + 3, script)
        await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    ids = [job.id for job in jobs]
    assert set(oracle.starts_per_job(ids).values()) == {1}
    assert {entry.job_id for entry in oracle.entries("finished")} == set(ids)


async def test_a_failure_whose_reply_was_lost_is_charged_once(
    proxy: Proxy, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    async with pool_behind(proxy, Failing):
        message = Failing.Message(errors=["value", "value"])
        jobs = [await dispatcher.publisher(Failing).publish(message)]
        await wait_for_count(dispatcher, Failing, JobState.SUCCEEDED, 1)
        proxy.cut_replies(FAIL.digest, times=4)
        jobs += await dispatcher.publisher(Failing).publish_many([message] * 20)
        await wait_until_cut(proxy, 4, FAIL)
        await wait_for_count(dispatcher, Failing, JobState.SUCCEEDED, len(jobs))

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {3}
    for job in jobs:
        record = await read_record(job)
        assert (record.attempts, len(record.history)) == (3, 2)


async def test_lost_replies_to_renewals_and_releases_do_no_harm(
    server: RedisServer, proxy: Proxy, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    async with pool_behind(proxy, Slow) as pool:
        job = await dispatcher.publisher(Slow).publish(Slow.Message(seconds=60))
        await oracle.wait_for("started", job.id)
        proxy.cut_replies(RENEW.digest, times=1)
        await wait_until_cut(proxy, 1, RENEW)
        assert (await read_record(job)).state is JobState.RUNNING
        # A server that does not know the script would say so, and that answer be lost.
        with server.client() as client:
            client.execute_command("SCRIPT", "LOAD", RELEASE.source)
        proxy.cut_replies(RELEASE.digest, times=2)
        pool.stop_now()

    record = await read_record(job)
    assert proxy.cuts == 3
    assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)
    assert await count_queued(dispatcher.inspector, Slow) == 1


async def test_a_wake_up_that_was_lost_with_its_connection_is_made_up_for_at_once(
    proxy: Proxy, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Quick)
    async with pool_behind(proxy, Quick):
        proxy.cut_replies("BLPOP", times=1)
        while not proxy.cuts:
            job = await publisher.publish(Quick.Message())
            # The pool would look by itself every five seconds.
            await oracle.wait_for("finished", job.id, timeout=timedelta(seconds=3))


async def test_connections_that_are_reset_again_and_again_neither_lose_nor_repeat_a_job(
    proxy: Proxy, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    jobs = await dispatcher.publisher(Slow).publish_many([Slow.Message(seconds=0.05)] * 200)
    async with pool_behind(proxy, Slow):
        for finished in range(10, 110, 10):
            await oracle.wait_for("finished", count=finished)
            proxy.reset_all()
        await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(jobs))

    assert set(oracle.starts_per_job(job.id for job in jobs).values()) == {1}


async def wait_until_cut(proxy: Proxy, count: int, script: Script) -> None:
    try:
        await wait_until(lambda: proxy.cuts == count)
    except AssertionError:
        raise AssertionError(f"{proxy.cuts} of {count} cuts, in {script.name}") from None


async def count_queued(inspector: Inspector, consumer: type[BaseConsumer]) -> int:
    return (await inspector.counts(consumer.QUEUE))[JobState.QUEUED]
