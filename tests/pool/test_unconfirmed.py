"""A pool that cannot confirm what it did does not go on doing more."""

from __future__ import annotations

from typing import ClassVar

import pytest

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, Redispatcher, RedispatcherConfig
from redispatcher_fastapi.job import JobState
from tests.pool.running import running_pool
from tests.servers import RedisServer, RedisServers
from tests.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

SLOTS = 2
MOST = 10 * SLOTS
JOBS = 3 * MOST


class Counted(BaseConsumer):
    QUEUE = "counted"
    runs: ClassVar[int] = 0

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        Counted.runs += 1


class Other(BaseConsumer):
    QUEUE = "other"
    runs: ClassVar[int] = 0

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        Other.runs += 1


def forbid_confirmations(server: RedisServer) -> None:
    """Take away the first command with which an acknowledgement writes, and a claim does not."""
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pool", "-hdel")


def allow_confirmations(server: RedisServer) -> None:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pool", "+hdel")


@pytest.mark.slow
async def test_no_more_jobs_run_than_could_be_repeated_by_a_loss(
    redis_servers: RedisServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redispatcher_fastapi.broker.retrying._REFUSED_DELAY", 0.2)
    monkeypatch.setattr(Counted, "runs", 0)
    monkeypatch.setattr(Other, "runs", 0)
    server = redis_servers.start()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "pool", "on", ">secret", "~*", "&*", "+@all")
    publishing = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
    consumers = [ConsumerConfig(consumer_class=each, count=SLOTS) for each in (Counted, Other)]
    dsn = f"redis://pool:secret@127.0.0.1:{server.port}"

    async with publishing.lifespan(), running_pool(dsn, *consumers) as running:
        forbid_confirmations(server)
        await publishing.publisher(Counted).publish_many([Counted.Message()] * JOBS)
        await wait_until(lambda: Counted.runs >= MOST and running.pool.running == 0)
        # A claim that comes after finds room on the other queue alone.
        await publishing.publisher(Other).publish(Other.Message())
        await wait_until(lambda: Other.runs == 1)
        held_up = Counted.runs

        allow_confirmations(server)
        await wait_until(lambda: Counted.runs == JOBS)
        counts = await publishing.inspector.counts(Counted.QUEUE)

    assert MOST <= held_up < MOST + SLOTS
    assert counts[JobState.QUEUED] == 0
