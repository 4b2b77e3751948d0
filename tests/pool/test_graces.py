"""Pools tell of leases that began anew by what Redis keeps of it, whoever noticed."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial

import pytest

from redispatcher_fastapi import BaseConsumer
from tests.pool.recording import RecordingHooks
from tests.pool.running import running_pool
from tests.servers import CommandClient, RedisServer, RedisServers
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.redis


class Work(BaseConsumer):
    QUEUE = "work"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    return redis_servers.start()


def let_nobody_look(redis: CommandClient, minutes: int) -> None:
    """Leave the leases as they are when nobody has looked at them for so long."""
    last_look = int((time.time() - minutes * 60) * 1000)
    redis.execute_command("ZADD", "rd:{work}:leases", last_look, "", last_look + 30_000, "lost")


def count_leases(redis: CommandClient) -> int:
    """Return how many there are, without the time of the last look that stands among them."""
    return int(redis.execute_command("ZCARD", "rd:{work}:leases")) - 1


def have_told(times: int, *hooks: RecordingHooks) -> bool:
    return all(len(each.graces) >= times for each in hooks)


async def test_a_pool_that_comes_after_a_time_without_any_tells_of_the_leases_it_found(
    server: RedisServer,
) -> None:
    hooks = RecordingHooks()
    with server.client() as redis:
        let_nobody_look(redis, minutes=10)
    async with running_pool(server.dsn, Work, hooks=hooks):
        await wait_until(lambda: bool(hooks.graces))

    (grace,) = hooks.graces
    assert (grace.queue, grace.holders) == ("work", 1)
    assert 10 * MINUTE <= grace.gap < 11 * MINUTE


@pytest.mark.slow
async def test_a_pool_does_not_tell_of_what_was_before_it(server: RedisServer) -> None:
    hooks = RecordingHooks()
    with server.client() as redis:
        before = int((time.time() - 60) * 1000)
        redis.execute_command("SET", "rd:{work}:grace", f"{before},7,90000", "PX", 60_000)
        async with running_pool(server.dsn, Work, hooks=hooks):
            await wait_until(lambda: count_leases(redis) == 1)
            let_nobody_look(redis, minutes=20)
            await wait_until(lambda: bool(hooks.graces))

    (grace,) = hooks.graces
    assert grace.gap >= 20 * MINUTE


@pytest.mark.slow
async def test_every_pool_of_a_queue_tells_of_every_time(server: RedisServer) -> None:
    first, second = RecordingHooks(), RecordingHooks()
    with server.client() as redis:
        async with (
            running_pool(server.dsn, Work, hooks=first),
            running_pool(server.dsn, Work, hooks=second),
        ):
            await wait_until(lambda: count_leases(redis) == 2)
            for times, minutes in enumerate([10, 20], start=1):
                let_nobody_look(redis, minutes)
                await wait_until(partial(have_told, times, first, second))

    assert first.graces == second.graces
    assert [grace.gap // (10 * MINUTE) for grace in first.graces] == [1, 2]
