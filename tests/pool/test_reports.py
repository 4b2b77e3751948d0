"""What a pool tells of jobs once Redis has confirmed it, or refused it."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from redispatcher_fastapi import BaseConsumer, JobFailedError, Reject
from redispatcher_fastapi.broker.types import Died, Released
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.servers import RedisServers
from tests.waiting import wait_until


class Work(BaseConsumer):
    QUEUE = "work"
    gate: ClassVar[asyncio.Event]

    class Message(BaseConsumer.Message):
        is_bad: bool = False

    async def process_message(self, message: Message) -> None:
        await self.gate.wait()
        if message.is_bad:
            raise Reject("bad account")


@pytest.fixture
def hooks() -> RecordingHooks:
    return RecordingHooks()


@pytest.fixture
async def running(redis_dsn: str, hooks: RecordingHooks) -> AsyncIterator[RunningPool]:
    Work.gate = asyncio.Event()
    async with running_pool(redis_dsn, Work, hooks=hooks) as running:
        try:
            yield running
        finally:
            Work.gate.set()


async def take_away(running: RunningPool, job_id: str) -> None:
    """Do what happens to a job whose process has lost its lease, without a word to the process."""
    redis: Any = running.broker.connections.publisher
    (held,) = await redis.keys("rd:{work}:held:*")
    await redis.hdel(held, job_id)


async def start_job(running: RunningPool, *, is_bad: bool = False) -> str:
    job = await running.publish(Work.Message(is_bad=is_bad))
    await wait_until(lambda: running.pool.running == 1)
    return job.id


async def test_a_dead_job_is_told_of_once_redis_has_confirmed_it(
    running: RunningPool, hooks: RecordingHooks, caplog: pytest.LogCaptureFixture
) -> None:
    Work.gate.set()
    job = await running.publish(Work.Message(is_bad=True))
    with pytest.raises(JobFailedError):
        await job.result(PATIENCE)
    await wait_until(lambda: bool(hooks.parked))

    assert hooks.parked == [("work", job.id, "rejected")]
    dead = [record for record in caplog.records if vars(record).get("event") == "job.dead"]
    assert [vars(record)["reason"] for record in dead] == ["rejected"]


async def test_a_death_that_redis_refused_is_a_refusal_and_no_death(
    running: RunningPool, hooks: RecordingHooks
) -> None:
    job_id = await start_job(running, is_bad=True)
    await take_away(running, job_id)

    Work.gate.set()
    await wait_until(lambda: bool(hooks.refused))

    ((refused, outcome, is_gone),) = hooks.refused
    assert (refused, is_gone) == (job_id, False)
    assert isinstance(outcome, Died)
    assert hooks.parked == []


async def test_giving_back_a_job_that_others_have_is_a_refused_write(
    running: RunningPool, hooks: RecordingHooks
) -> None:
    job_id = await start_job(running)
    await take_away(running, job_id)

    running.pool.stop_now()
    await wait_until(lambda: bool(hooks.refused))

    assert hooks.refused == [(job_id, Released(), False)]


async def test_giving_back_a_job_that_redis_lost_is_one_too(
    running: RunningPool, hooks: RecordingHooks
) -> None:
    job_id = await start_job(running)
    redis: Any = running.broker.connections.publisher
    await redis.flushall()

    running.pool.stop_now()
    await wait_until(lambda: bool(hooks.refused))

    assert hooks.refused == [(job_id, Released(), True)]


async def test_giving_back_what_is_held_is_no_refusal(
    running: RunningPool, hooks: RecordingHooks
) -> None:
    await start_job(running)

    running.pool.stop_now()
    await running.pool.stop()

    assert hooks.refused == []


@pytest.mark.redis
@pytest.mark.slow
async def test_a_call_into_c_that_keeps_the_interpreter_is_told_of_afterwards(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> None:
    class Greedy(BaseConsumer):
        QUEUE = "greedy"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            ctypes.PyDLL(None).usleep(1_950_000)

    dsn, lease = redis_servers.start().dsn, timedelta(seconds=3)
    async with running_pool(dsn, Greedy, lease=lease, hooks=hooks) as running:
        await running.publish(Greedy.Message())
        await wait_until(lambda: bool(hooks.ends_of_blocks))

    (block,) = hooks.blocks
    assert block.is_frozen
    assert block.lasted > lease / 2


@pytest.mark.redis
@pytest.mark.slow
async def test_what_redis_has_not_confirmed_when_the_process_ends_is_told_of(
    redis_servers: RedisServers, hooks: RecordingHooks
) -> None:
    Work.gate = asyncio.Event()
    server = redis_servers.start()
    async with running_pool(server.dsn, Work, hooks=hooks) as running:
        job_id = await start_job(running)
        with server.paused():
            Work.gate.set()
            await running.pool.stop()

    assert hooks.unconfirmed == [("work", [job_id])]
