"""The Redis user that docs/reference.md tells to create can do what is needed, and no more."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from redispatcher_fastapi import (
    BaseConsumer,
    Fixed,
    JobContext,
    JobFailedError,
    JobState,
    PublishError,
    Redispatcher,
    RedispatcherConfig,
    Reject,
    RetryPolicy,
)
from tests.servers import CommandClient, RedisServer, RedisServers

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SCRIPTS = ROOT / "redispatcher_fastapi" / "broker" / "lua"

pytestmark = [pytest.mark.anyio, pytest.mark.redis]

#: What the library sends besides its scripts; INFO is optional.
OUTSIDE_OF_SCRIPTS = {"blpop", "eval", "evalsha", "hgetall", "info", "subscribe"}


class Double(BaseConsumer):
    QUEUE = "send-welcome-email"
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=1)))

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message, context: JobContext) -> int:
        if message.number == 0:
            raise Reject("there is nothing to double")
        if context.attempt == 1:
            raise ConnectionError("try again")
        return 2 * message.number


class Other(BaseConsumer):
    QUEUE = "other"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        pass


def documented_command() -> list[str]:
    """Return the words of the ``ACL SETUSER`` that the page shows, without ``redis-cli``."""
    found = re.search(r"^\$ redis-cli (ACL SETUSER (?:.*\\\n)*.*)$", REFERENCE, re.MULTILINE)
    assert found
    return shlex.split(found[1].replace("\\\n", " "))


def credentials(command: Sequence[str]) -> tuple[str, str]:
    return command[2], next(word for word in command if word.startswith(">"))[1:]


def documented_patterns_of_one_queue() -> list[str]:
    return re.findall(r"`([~&]rd:\{[^`]+)`", REFERENCE)


@asynccontextmanager
async def running(server: RedisServer, command: Sequence[str]) -> AsyncGenerator[Redispatcher]:
    """Create the user, and run an application with a pool as this user."""
    user, password = credentials(command)
    with server.client() as client:
        assert client.execute_command(*command) == "OK"
        client.execute_command("ACL", "LOG", "RESET")
    dispatcher = Redispatcher(
        RedispatcherConfig(
            redis_dsn=f"redis://{user}:{password}@127.0.0.1:{server.port}", consumers=[Double]
        ),
        run_pool=True,
    )
    async with dispatcher.lifespan():
        yield dispatcher


def ask(client: CommandClient, *words: str) -> Any:
    return client.execute_command(*words)


def refused(client: CommandClient) -> list[str]:
    """Return what Redis refused to somebody, by its own log.

    Newer servers know CLIENT SETINFO, with which redis-py introduces itself if it may.
    """
    entries: list[dict[str, Any]] = client.execute_command("ACL", "LOG")
    return [entry["object"] for entry in entries if not entry["object"].startswith("client")]


async def test_the_documented_user_can_do_everything(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    async with running(server, documented_command()) as dispatcher:
        doubles = dispatcher.publisher(Double)

        done = await doubles.publish(Double.Message(number=4), id="four")
        assert await done.result(timeout=20) == 8
        dead = await doubles.publish(Double.Message(number=0))
        for is_redriven in (True, False):
            with pytest.raises(JobFailedError, match="nothing to double"):
                await dead.result(timeout=20)
            if is_redriven:
                assert await dispatcher.inspector.redrive(dead.queue, dead.id)
        later = await doubles.publish(Double.Message(number=1), delay=timedelta(hours=1))
        assert await later.cancel()

        inspector = dispatcher.inspector
        counts = await inspector.counts(Double.QUEUE)
        assert (counts[JobState.SUCCEEDED], counts[JobState.DEAD]) == (1, 1)
        for state in JobState:
            await inspector.jobs(Double.QUEUE, state)
        assert await inspector.delete(dead.queue, dead.id)

    with server.client() as client:
        assert refused(client) == []


async def test_the_documented_user_reaches_nothing_else(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    command = documented_command()
    user, password = credentials(command)
    with server.client() as client:
        client.execute_command(*command)

    with Redis(port=server.port, username=user, password=password) as theirs:
        for words in (["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "*"], ["GET", "session:1"]):
            with pytest.raises(NoPermissionError):
                ask(theirs, *words)
        assert ask(theirs, "GET", "rd:{queue}:result:1") is None


async def test_a_user_of_one_queue_can_use_that_one_only(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    general = {"~rd:*", "&rd:*"}
    patterns = documented_patterns_of_one_queue()
    assert general < set(documented_command())
    command = [word for word in documented_command() if word not in general] + patterns

    async with running(server, command) as dispatcher:
        job = await dispatcher.publisher(Double).publish(Double.Message(number=4))

        assert await job.result(timeout=20) == 8
        with server.client() as client:
            assert refused(client) == []
        with pytest.raises(PublishError, match=r"(?i)permission|ACL"):
            await dispatcher.publisher(Other).publish(Other.Message())


async def test_the_documented_commands_are_those_that_scripts_and_clients_use(
    redis_servers: RedisServers,
) -> None:
    words = documented_command()
    categories = [word[2:] for word in words if word.startswith("+@")]
    commands = {word[1:] for word in words if re.match(r"\+\w", word)}
    sources = "\n".join(
        re.sub(r"--.*", "", path.read_text(encoding="utf-8")) for path in SCRIPTS.glob("*.lua")
    )
    used = OUTSIDE_OF_SCRIPTS | {
        name.lower() for name in re.findall(r"\bcall\(\s*'(\w+)'", sources)
    }

    with redis_servers.start().client() as client:
        members = {
            category: set(client.execute_command("ACL", "CAT", category)) for category in categories
        }

    assert used - set[str]().union(*members.values()) == commands
    assert [category for category, names in members.items() if not used & names] == []
