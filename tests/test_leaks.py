"""The search for leaked keys finds each kind of leak, and nothing else."""

from __future__ import annotations

import pytest
from fakeredis import FakeRedis

from tests.leaks import find_leaks, find_leftovers, read_documented_keys
from tests.servers import CommandClient


@pytest.fixture
def client() -> CommandClient:
    return FakeRedis()


def test_the_table_of_keys_is_read_whole() -> None:
    rows = {row.suffix: row for row in read_documented_keys()}

    assert len(rows) >= 20
    assert rows["jobs"].type == "hash"
    assert rows["result:<id>"].must_expire
    assert not rows["ready"].must_expire
    assert [suffix for suffix, row in rows.items() if row.is_permanent] == ["stats"]


def test_documented_keys_are_no_leak(client: CommandClient) -> None:
    client.execute_command("HSET", "rd:{mail}:jobs", "a:1", "record")
    client.execute_command("RPUSH", "rd:{mail}:ready", "a:1")
    client.execute_command("RPUSH", "rd:{mail}:history:a:1", "attempt")
    client.execute_command("SET", "rd:{mail}:result:a:1", "42", "EX", 60)
    client.execute_command("ZADD", "rd:{mail}:leases", 1, "me")
    client.execute_command("HSET", "rd:{mail}:held:me", "a:1", "delivery")

    assert find_leaks(client) == []


@pytest.mark.parametrize(
    ("command", "leak"),
    [
        (("SET", "stray", "1"), "stray is not a key of a queue"),
        (("SET", "rd:{mail}:new", "1"), "rd:{mail}:new is not in the table of keys.py"),
        (("SET", "rd:{mail}:jobs", "1"), "rd:{mail}:jobs is a string, but the table says hash"),
        (
            ("SET", "rd:{mail}:result:a", "1"),
            "rd:{mail}:result:a has no TTL, but the table says it expires",
        ),
        (
            ("RPUSH", "rd:{mail}:history:a", "1"),
            "rd:{mail}:history:a has no TTL and outlived its id",
        ),
        (
            ("HSET", "rd:{mail}:held:me", "a", "1"),
            "rd:{mail}:held:me has no TTL and outlived its holder",
        ),
    ],
)
def test_a_leak_is_found(client: CommandClient, command: tuple[str, ...], leak: str) -> None:
    client.execute_command(*command)

    assert find_leaks(client) == [leak]


def test_only_counters_may_stay_for_ever(client: CommandClient) -> None:
    client.execute_command("HSET", "rd:{mail}:stats", "published", 1)
    client.execute_command("RPUSH", "rd:{mail}:ready", "a")

    assert find_leftovers(client) == ["rd:{mail}:ready"]
