"""What is left in Redis when all jobs are done and all retention has passed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import ConsumerPool, Job, JobState, Redispatcher, RedispatcherConfig
from tests.leaks import find_leftovers
from tests.reliability.jobs import Failing
from tests.reliability.looking import wait_for_count
from tests.reliability.oracle import PATIENCE, Oracle
from tests.servers import CommandClient, RedisServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

BRIEF = timedelta(milliseconds=300)
#: What a running process needs; they go when it takes its leave.
OF_A_PROCESS = ("leases", "calls:", "held:", "poke:", "wake")


class Forgotten(Failing):
    QUEUE = "forgotten"
    RESULT_TTL = BRIEF


async def test_after_the_last_job_and_all_retention_only_counters_are_left(
    server: RedisServer, oracle: Oracle, dispatcher: Redispatcher
) -> None:
    config = RedispatcherConfig(
        redis_dsn=server.dsn,
        consumers=[Forgotten],
        publish_timeout=BRIEF / 2,
        finished_max_age=BRIEF,
        dead_max_age=BRIEF,
        chosen_id_memory=BRIEF,
    )
    jobs = await publish_of_every_kind(dispatcher)
    pool = ConsumerPool(config)
    with server.client() as client:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run())
            for job in jobs:
                await asyncio.wait([tasks.create_task(wait_for_end(job))])
            await wait_for_count(dispatcher, Forgotten, JobState.DEAD, 0)
            await wait_until(lambda: not find_remains(client), timeout=PATIENCE)
            await pool.stop()

        assert find_leftovers(client) == []
        assert client.execute_command("KEYS", "*") == ["rd:{forgotten}:stats"]
    starts = oracle.starts_per_job(job.id for job in jobs)
    assert sorted(starts.values()) == [0] * 3 + [1] * 16 + [2] * 5 + [3] * 5


async def publish_of_every_kind(dispatcher: Redispatcher) -> list[Job[Any]]:
    """Publish jobs that succeed, retry, die, are rejected, delayed, cancelled and have own ids."""
    publisher = dispatcher.publisher(Forgotten)
    well = Forgotten.Message(errors=[])
    jobs = await publisher.publish_many([well] * 5)
    jobs += [await publisher.publish(well, id=f"chosen-{number}") for number in range(3)]
    jobs += await publisher.publish_many([well] * 3, delay=timedelta(seconds=0.5))
    jobs += await publisher.publish_many([Forgotten.Message(errors=["value"])] * 5)
    jobs += await publisher.publish_many([Forgotten.Message(errors=["value"] * 3)] * 5)
    jobs += await publisher.publish_many([Forgotten.Message(errors=["reject"])] * 5)
    cancelled = await publisher.publish_many([well] * 2)
    cancelled += [await publisher.publish(well, delay=timedelta(hours=1))]
    assert [await job.cancel() for job in cancelled] == [True] * 3
    return jobs + cancelled


async def wait_for_end(job: Job[Any]) -> None:
    """Wait for the result as a publisher does, whatever it is."""
    await asyncio.gather(job.result(PATIENCE), return_exceptions=True)


def find_remains(client: CommandClient) -> list[str]:
    """Return the keys that are left although no process needs them."""
    return [
        key
        for key in find_leftovers(client)
        if not key.removeprefix("rd:{forgotten}:").startswith(OF_A_PROCESS)
    ]
