"""Jobs that cannot be read or raise whatever they like: nothing else is affected."""

from __future__ import annotations

import pytest

from redispatcher_fastapi import Job, JobState, Redispatcher
from tests.reliability.jobs import ERRORS, Failing, Quick, Slow, Timed
from tests.reliability.looking import read_record, wait_for_count, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

PUBLISHED = b"1767268800000"
#: What somebody left in the place of a record, and the reason for which its job is dead.
SCRIBBLES = {
    PUBLISHED + b"not json": "undecodable",
    PUBLISHED + b"\xff\xfe\x00": "undecodable",
    PUBLISHED: "undecodable",
    PUBLISHED + b"[" * 100_000: "undecodable",
    PUBLISHED + b"null": "invalid_message",
    PUBLISHED + b'{"v":9,"body":{}}': "unknown_version",
    PUBLISHED + b'{"body":{}}': "unknown_version",
    PUBLISHED + b'{"v":1}': "invalid_message",
    PUBLISHED + b'{"v":1,"body":{"seconds":"secret"}}': "invalid_message",
    PUBLISHED + b'{"v":1,"headers":[],"body":{}}': "invalid_message",
    b"scribbled over": "undecodable",
    b"": "undecodable",
    b"S": "undecodable",
    "\u0661\u0667".encode() * 10: "undecodable",
}


async def test_what_cannot_be_read_is_parked_with_its_body_and_a_reason(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Slow)
    good = await publisher.publish_many([Timed.Message()] * 20)
    doomed = await publisher.publish_many([Timed.Message()] * len(SCRIBBLES))
    bad = dict(zip(SCRIBBLES, doomed, strict=True))
    good += await publisher.publish_many([Timed.Message()] * 20)
    vanished, miscounted = await publisher.publish_many([Timed.Message()] * 2)
    with server.client() as client:
        for scribble, job in bad.items():
            client.execute_command("HSET", "rd:{slow}:jobs", job.id, scribble)
        client.execute_command("HDEL", "rd:{slow}:jobs", vanished.id)
        client.execute_command("HSET", "rd:{slow}:faults", miscounted.id, "many")

    pool = await pools.start(server.dsn, Slow)
    await wait_for_count(dispatcher, Slow, JobState.SUCCEEDED, len(good) + 1)
    await wait_for_count(dispatcher, Slow, JobState.DEAD, len(bad))

    for scribble, job in bad.items():
        record = await read_record(job)
        assert (scribble[:40], record.reason) == (scribble[:40], SCRIBBLES[scribble])
        body = record.body or b""
        assert body in scribble
        assert bool(body) == bool(scribble.removeprefix(PUBLISHED))
        assert "secret" not in (record.error or "")
        assert oracle.entries("started", job.id) == []
    assert {await job.result(PATIENCE) for job in [*good, miscounted]} == {pool.pid}
    assert await vanished.state() is None
    assert "secret" not in pool.log
    assert "went wrong in the pool itself" not in pool.log


async def test_whatever_a_handler_raises_affects_its_own_job_alone(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    pool = await pools.start(server.dsn, Failing, Slow, Quick)
    beside = await dispatcher.publisher(Slow).publish(Timed.Message(seconds=1.5))
    publisher = dispatcher.publisher(Failing)
    once = {name: await publisher.publish(Failing.Message(errors=[name])) for name in ERRORS}
    thrice = {name: await publisher.publish(Failing.Message(errors=[name] * 3)) for name in ERRORS}

    for name, job in thrice.items():
        await wait_for_state(job, JobState.DEAD)
        record = await read_record(job)
        is_rejected = name == "reject"
        assert record.reason == ("rejected" if is_rejected else "failed")
        assert record.attempts == (1 if is_rejected else 3)
        assert len(oracle.entries("started", job.id)) == record.attempts
    for name, job in once.items():
        if name != "reject":
            assert await job.result(PATIENCE) == 2

    assert await beside.result(PATIENCE) == pool.pid
    assert await (await publish_quick(dispatcher)).result(PATIENCE) == pool.pid
    assert pool.is_alive
    assert len(oracle.entries("ready")) == 1


async def publish_quick(dispatcher: Redispatcher) -> Job[int]:
    return await dispatcher.publisher(Quick).publish(Quick.Message())
