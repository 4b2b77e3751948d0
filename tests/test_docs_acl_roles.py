"""docs/reference.md gives each role a Redis user with the commands it needs, and no others."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from redispatcher_fastapi import (
    BaseConsumer,
    BrokerAccessError,
    ConsumerPool,
    Fixed,
    Inspector,
    Job,
    JobContext,
    JobFailedError,
    JobState,
    NotReplicatedError,
    PublishError,
    Redispatcher,
    RedispatcherConfig,
    Reject,
    RetryPolicy,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.scripts import CLAIM, RENEW, Script
from redispatcher_fastapi.broker.types import EngineSettings
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.keys import queue_prefix
from tests.acl import CONFIRMING, ROLES, all_scripts, commands_sent, listening
from tests.servers import RedisServer, RedisServers
from tests.topologies import cluster_dsn, start_cluster, start_replica
from tests.waiting import wait_until

REFERENCE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^\$ redis-cli (ACL SETUSER (?:.*\\\n)*.*)$", re.MULTILINE)
PATIENCE = timedelta(seconds=20)

pytestmark = [pytest.mark.anyio, pytest.mark.redis]


class Work(BaseConsumer):
    QUEUE = "work"
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=1)))

    class Message(BaseConsumer.Message):
        what: str = "succeed"

    async def process_message(self, message: Message, context: JobContext) -> int:
        match message.what:
            case "retry" if context.attempt == 1:
                raise ConnectionError("try again")
            case "reject":
                raise Reject("no")
            case "hold":
                await asyncio.Event().wait()
            case _:
                pass
        return context.attempt


DOCUMENTED: dict[str, list[str]] = {
    words[2]: words
    for words in (shlex.split(found.replace("\\\n", " ")) for found in COMMAND.findall(REFERENCE))
}


DOCUMENTED_FOR_CONFIRMING = re.findall(r"confirmed publishes `(\+\w+)`", REFERENCE)
DOCUMENTED_FOR_CLUSTERS = re.findall(r"\ba cluster `([^`]+)`", REFERENCE)[0].split()


def granted(role: str) -> list[str]:
    """Return the commands that the page grants to a role."""
    return [word[1:] for word in DOCUMENTED[role] if word.startswith("+")]


def create_users(server: RedisServer, *more: str) -> None:
    with server.client() as admin:
        for role in ROLES:
            assert admin.execute_command(*DOCUMENTED[role], *more) == "OK"
        admin.execute_command("ACL", "LOG", "RESET")


def refusals(server: RedisServer) -> list[str]:
    """Return what Redis refused, but for what redis-py introduces itself with if it may."""
    with server.client() as admin:
        entries: list[dict[str, Any]] = admin.execute_command("ACL", "LOG")
    return [entry["object"] for entry in entries if not entry["object"].startswith("client")]


def dsn_of(role: str, server: RedisServer) -> str:
    password = next(word for word in DOCUMENTED[role] if word.startswith(">"))[1:]
    return f"redis://{role}:{password}@127.0.0.1:{server.port}"


@asynccontextmanager
async def inspecting(dsn: str) -> AsyncGenerator[Inspector]:
    async with Connections(parse_dsn(dsn)) as connections:
        yield Inspector(Broker(connections, EngineSettings()))


@asynccontextmanager
async def publishing(dsn: str, **options: Any) -> AsyncGenerator[Redispatcher]:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=dsn, **options))
    async with dispatcher.lifespan():
        yield dispatcher


async def do_all_that_publishers_do(dispatcher: Redispatcher) -> list[Job[int]]:
    """Return a job that succeeded, a dead one, and one that is running."""
    publisher = dispatcher.publisher(Work)
    done = await publisher.publish(Work.Message(), id="chosen")
    assert await done.result(PATIENCE) == 1
    assert not (await publisher.publish(Work.Message(), id="chosen")).created
    retried, *_ = await publisher.publish_many([Work.Message(what="retry"), Work.Message()])
    assert await retried.result(PATIENCE) == 2
    dead = await publisher.publish(Work.Message(what="reject"))
    with pytest.raises(JobFailedError):
        await dead.result(PATIENCE)
    later = await publisher.publish(Work.Message(), delay=timedelta(hours=1))
    assert await later.state() is JobState.SCHEDULED
    assert await later.cancel()
    running = await publisher.publish(Work.Message(what="hold"))
    assert await running.info() is not None
    return [done, dead, running]


async def look_at_everything(inspector: Inspector, job: Job[int]) -> None:
    await inspector.counts(Work.QUEUE)
    for state in JobState:
        await inspector.jobs(Work.QUEUE, state)
    assert await inspector.job(Work.QUEUE, job.id)


def test_every_script_and_every_command_has_a_role() -> None:
    roles = ROLES.values()

    assert frozenset[Script]().union(*(role.scripts for role in roles)) == all_scripts()
    assert commands_sent() == frozenset[str]().union(*(role.sent for role in roles), CONFIRMING) - {
        "subscribe"
    }


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_page_grants_a_role_what_it_may_need_and_no_more(role: str) -> None:
    assert granted(role) == ROLES[role].commands


async def test_each_role_can_do_its_whole_job(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    create_users(server)
    config = RedispatcherConfig(
        redis_dsn=dsn_of("worker", server), consumers=[Work], grace_period=timedelta()
    )
    pool = ConsumerPool(config)
    with ExitStack() as ears:
        heard = ears.enter_context(listening(server))
        async with (
            asyncio.TaskGroup() as tasks,
            publishing(dsn_of("publisher", server)) as dispatcher,
            inspecting(dsn_of("monitor", server)) as monitor,
            inspecting(dsn_of("operator", server)) as operator,
        ):
            tasks.create_task(pool.run())
            done, dead, held = await do_all_that_publishers_do(dispatcher)
            await wait_until(lambda: pool.running == 1)
            await look_at_everything(monitor, done)
            await look_at_everything(operator, done)
            assert await operator.redrive(Work.QUEUE, dead.id)
            await wait_until(lambda: is_in(dead, JobState.DEAD))
            assert await operator.delete(Work.QUEUE, dead.id)
            ears.close()
            await pool.stop()
            assert await held.state() is JobState.QUEUED

    assert refusals(server) == []
    assert set(heard) >= set(ROLES)
    for name, role in ROLES.items():
        assert heard[name].commands <= role.sent, name
        assert heard[name].digests <= {script.digest for script in role.scripts}, name


async def is_in(job: Job[int], state: JobState) -> bool:
    return await job.state() is state


@pytest.mark.parametrize("role", sorted(ROLES))
async def test_a_role_is_refused_everything_else(redis_servers: RedisServers, role: str) -> None:
    server = redis_servers.start()
    create_users(server)
    prefix = queue_prefix(Work.QUEUE)
    password = next(word for word in DOCUMENTED[role] if word.startswith(">"))[1:]

    theirs: Any = Redis(port=server.port, username=role, password=password)
    with theirs:
        for words in (
            ("FLUSHALL",),
            ("FLUSHDB",),
            ("CONFIG", "GET", "*"),
            ("KEYS", "*"),
            ("SCRIPT", "FLUSH"),
            ("ACL", "SETUSER", "default", "on"),
            ("SHUTDOWN",),
            ("ACL", "LIST"),
            ("MONITOR",),
            ("CLIENT", "KILL", "TYPE", "normal"),
            ("REPLICAOF", "NO", "ONE"),
            ("RENAME", f"{prefix}ready", f"{prefix}other"),
            ("EVAL", "return 1", 1, "session:1"),
            ("PUBLISH", "news", "1"),
        ):
            with pytest.raises(NoPermissionError):
                theirs.execute_command(*words)
        with pytest.raises(ResponseError, match=r"(?i)permission|ACL|can't"):
            theirs.execute_command("EVAL", "return redis.call('GET', 'session:1')", 0)


async def run_script(role: str, server: RedisServer, script: Script, *arguments: Any) -> Any:
    async with Connections(parse_dsn(dsn_of(role, server))) as connections:
        return await script.run(connections.publisher, [queue_prefix(Work.QUEUE)], arguments)


async def test_a_role_cannot_do_what_is_another_ones(redis_servers: RedisServers) -> None:
    server = redis_servers.start()
    create_users(server)
    async with publishing(dsn_of("publisher", server)) as dispatcher:
        job = await dispatcher.publisher(Work).publish(Work.Message())

    await run_script("worker", server, RENEW, "", 30_000, "someone")
    for role in ("publisher", "monitor", "operator"):
        with pytest.raises(BrokerAccessError):
            await run_script(role, server, CLAIM, "", "someone", 1, 0, 1, "")
    for role in ("monitor", "operator"):
        async with publishing(dsn_of(role, server)) as dispatcher:
            with pytest.raises(PublishError):
                await dispatcher.publisher(Work).publish(Work.Message())
    async with inspecting(dsn_of("monitor", server)) as monitor:
        with pytest.raises(BrokerAccessError):
            await monitor.delete(job.queue, job.id)
        assert (await monitor.counts(Work.QUEUE))[JobState.QUEUED] == 1


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_confirmed_publishes_need_one_command_more(
    redis_servers: RedisServers, is_allowed: bool
) -> None:
    server = redis_servers.start()
    start_replica(redis_servers, server)
    create_users(server, *(DOCUMENTED_FOR_CONFIRMING if is_allowed else ()))

    async with publishing(dsn_of("publisher", server), confirmed_replicas=1) as dispatcher:
        publish = dispatcher.publisher(Work).publish(Work.Message())
        if is_allowed:
            assert (await publish).created
        else:
            with pytest.raises(NotReplicatedError, match="wait"):
                await publish

    # By the publish, or by the look at the server when the application starts as well.
    assert set(refusals(server)) == (set() if is_allowed else {"wait"})


async def test_a_cluster_needs_what_its_client_asks(redis_servers: RedisServers) -> None:
    (node,) = start_cluster(redis_servers)
    create_users(node, *DOCUMENTED_FOR_CLUSTERS)
    password = next(word for word in DOCUMENTED["publisher"] if word.startswith(">"))[1:]
    dsn = cluster_dsn([node]).replace("//", f"//publisher:{password}@")

    async with publishing(dsn) as dispatcher:
        assert (await dispatcher.publisher(Work).publish(Work.Message())).created

    assert refusals(node) == []
