"""A pool compares what it holds with what Redis thinks it holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi import BaseConsumer
from tests.pool.running import running_pool
from tests.servers import CommandClient, RedisServers


class Echo(BaseConsumer):
    QUEUE = "echo"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> str:
        return message.text


@pytest.mark.redis
@pytest.mark.slow
async def test_a_pool_goes_on_when_it_cannot_look_at_what_it_holds(
    redis_servers: RedisServers, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.start()
    async with running_pool(server.dsn, Echo, lease=timedelta(seconds=1)) as running:
        await running.perform(Echo.Message(text="before"))
        with server.client() as admin:
            (holder,) = set(admin.execute_command("ZRANGE", "rd:{echo}:leases", 0, -1)) - {""}
            admin.execute_command("ACL", "SETUSER", "default", "-hgetall")
            # What the reply to a claim that was lost would leave.
            admin.execute_command("HSET", f"rd:{{echo}}:held:{holder}", "unknown", "99,1")
            held = ("EXISTS", f"rd:{{echo}}:held:{holder}")
            # It looks when it claims.
            while not refusals(admin):
                await running.perform(Echo.Message(text="during"))
            admin.execute_command("ACL", "SETUSER", "default", "+hgetall")
            while admin.execute_command(*held):
                await running.perform(Echo.Message(text="after"))

    assert "held unknowingly" in caplog.text


def refusals(admin: CommandClient) -> int:
    """Return how often Redis refused to show what is held."""
    statistics = admin.execute_command("INFO", "commandstats")
    return int(statistics.get("cmdstat_hgetall", {}).get("rejected_calls", 0))
