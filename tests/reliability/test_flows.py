"""Chains and groups while processes and Redis are killed: what follows runs, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from redispatcher_fastapi import Flow, JobState, Redispatcher, RedispatcherConfig, chain
from tests.leaks import find_leaks
from tests.pool.running import running_pool
from tests.reliability.following import Beginning, Ending, Joining
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools, Protection
from tests.servers import RedisServer, RedisServers

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CHAIN = chain(Beginning).then(Ending)


async def begin_chain(dispatcher: Redispatcher) -> Flow[int]:
    publisher = dispatcher.publisher(Beginning)
    return await publisher.publish_chain(CHAIN, Beginning.Message(number=2))


async def begin_group(dispatcher: Redispatcher) -> Flow[int]:
    messages = [Ending.Message(number=2)]
    return await dispatcher.publisher(Ending).publish_group(messages, then=Joining)


@pytest.mark.parametrize(
    ("begin", "point"),
    [
        (begin_chain, "forgetting"),
        (begin_group, "publishing"),
        *(
            pytest.param(begin, point, marks=pytest.mark.long)
            for begin, point in (
                (begin_chain, "reading"),
                (begin_chain, "publishing"),
                (begin_group, "reading"),
                (begin_group, "forgetting"),
            )
        ),
    ],
)
async def test_a_process_that_is_killed_while_it_passes_on_loses_nothing_and_doubles_nothing(
    begin: Callable[[Redispatcher], Awaitable[Flow[int]]],
    point: Protection,
    server: RedisServer,
    oracle: Oracle,
    pools: Pools,
    dispatcher: Redispatcher,
) -> None:
    flow = await begin(dispatcher)
    doomed = Beginning if begin is begin_chain else Ending
    await pools.begin(server.dsn, doomed, without=point).wait(timeout=PATIENCE)
    states = [await job.state() for job in flow.jobs]

    async with running_pool(server.dsn, Beginning, Ending, Joining):
        assert await flow.result(PATIENCE) == 2

    is_published = JobState.QUEUED if point == "forgetting" else None
    assert states == [JobState.SUCCEEDED, is_published]
    assert oracle.starts_per_job(job.id for job in flow.jobs) == {job.id: 1 for job in flow.jobs}
    with server.client() as client:
        for left in ("rd:*:onward", "rd:*:joins:*"):
            assert not client.execute_command("KEYS", left)
        assert find_leaks(client) == []


async def test_a_redis_that_is_killed_in_the_middle_of_many_flows_ends_each_of_them_once(
    redis_servers: RedisServers, oracle: Oracle, pools: Pools
) -> None:
    server = redis_servers.start(is_durable=True)
    await pools.start(server.dsn, Beginning, Ending, Joining)
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
    async with dispatcher.lifespan():
        publisher = dispatcher.publisher(Beginning)
        flows: list[Flow[int]] = await asyncio.gather(
            *(publisher.publish_chain(CHAIN, Beginning.Message(number=n)) for n in range(200))
        )
        ends = [flow.jobs[-1].id for flow in flows]
        group = await dispatcher.publisher(Ending).publish_group(
            [Ending.Message(number=n) for n in range(50)], then=Joining
        )
        await oracle.wait_for("finished", count=100)

        server.kill()
        server.start()
        results = await asyncio.gather(*(flow.result(PATIENCE) for flow in flows))

        assert results == list(range(200))
        assert await group.result(PATIENCE) == sum(range(50))
        counts = [await dispatcher.inspector.counts(queue) for queue in ("beginning", "ending")]
    assert [count[JobState.SUCCEEDED] for count in counts] == [200, 250]
    assert set(oracle.starts_per_job(ends).values()) == {1}
