"""Several processes under one parent, and one process that follows its code."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.job import JobState
from tests.cli.consumers import Echo, Endless, Held
from tests.cli.programs import SERVICE, Program
from tests.servers import CommandClient, RedisServer
from tests.waiting import wait_until, wait_until_blocking

pytestmark = [pytest.mark.redis, pytest.mark.slow]


async def test_two_processes_share_the_work_and_stop_gracefully(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, "--processes", "2", dsn=server.dsn) as program:
        publisher = dispatcher.publisher(Held)
        jobs = await publisher.publish_many(
            [Held.Message(until=tmp_path / "released") for _ in range(20)]
        )
        await wait_until(lambda: count_running(dispatcher, "held", 20))
        program.signal()
        program.wait_for("Stopping: no new jobs")
        (tmp_path / "released").touch()

        assert program.wait() == 0
        children = {record["child_pid"] for record in program.events("process.started")}
        assert {await job.result(timeout=1) for job in jobs} == children
        assert len(children) == 2


async def test_a_child_that_was_killed_is_replaced(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, "--processes", "2", dsn=server.dsn) as program:
        program.wait_until_ready()
        killed = program.wait_for_events("process.started", count=2)[1]

        os.kill(killed["child_pid"], signal.SIGKILL)

        started = program.wait_for_events("process.started", count=3)
        assert started[2]["number"] == killed["number"]
        (ended,) = program.events("process.ended")
        assert (ended["number"], ended["code"]) == (killed["number"], -signal.SIGKILL)
        job = await dispatcher.publisher(Echo).publish(Echo.Message(text="hello"))
        assert await job.result(timeout=20) == "hello!"
        program.signal()
        assert program.wait() == 0


async def test_sigusr1_drains_all_processes_and_none_is_started_again(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, "--processes", "2", dsn=server.dsn) as program:
        publisher = dispatcher.publisher(Held)
        jobs = await publisher.publish_many(
            [Held.Message(until=tmp_path / "released") for _ in range(20)]
        )
        await wait_until(lambda: count_running(dispatcher, "held", 20))
        program.signal(signal.SIGUSR1)
        program.wait_for_events("pool.draining", count=2)
        late = await publisher.publish(Held.Message(until=tmp_path / "released"))
        (tmp_path / "released").touch()

        assert program.wait() == 0
        assert {await job.state() for job in jobs} == {JobState.SUCCEEDED}
        assert await late.state() is JobState.QUEUED
        assert len(program.events("process.started")) == 2
        assert len(program.events("parent.draining")) == 1


async def test_a_second_signal_reaches_the_children_too(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, "--processes", "2", dsn=server.dsn) as program:
        publisher = dispatcher.publisher(Endless)
        jobs = await publisher.publish_many([Endless.Message() for _ in range(4)])
        await wait_until(lambda: count_running(dispatcher, "endless", 4))
        program.signal(signal.SIGINT)
        wait_until_blocking(lambda: program.log.count("Stopping: no new jobs") == 2)
        program.signal(signal.SIGINT)

        assert program.wait() == 0
        assert [await job.state() for job in jobs] == [JobState.QUEUED] * 4


async def test_children_stop_by_themselves_when_their_parent_is_killed(
    tmp_path: Path, server: RedisServer
) -> None:
    with Program(tmp_path, "pool", SERVICE, "--processes", "2", dsn=server.dsn) as program:
        with server.client() as client:
            await wait_until(lambda: len(read_holders(client)) == 2)

        program.signal(signal.SIGKILL)

        assert program.wait() == -signal.SIGKILL
        wait_until_blocking(lambda: program.log.count("The parent process is gone.") == 2)
        with server.client() as client:
            await wait_until(lambda: not read_holders(client))


async def test_burst_ends_when_all_processes_have_nothing_left(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Echo)
    jobs = await publisher.publish_many([Echo.Message(text=str(number)) for number in range(50)])

    with Program(
        tmp_path, "pool", SERVICE, "--processes", "2", "--burst", dsn=server.dsn
    ) as program:
        assert program.wait() == 0
        assert len(program.events("process.started")) == 2

    assert {await job.state() for job in jobs} == {JobState.SUCCEEDED}


def test_a_target_that_cannot_be_run_ends_all_processes_with_2(
    tmp_path: Path, server: RedisServer
) -> None:
    with Program(
        tmp_path, "pool", "tests.cli.service:nothing", "--processes", "2", dsn=server.dsn
    ) as program:
        assert program.wait() == 2

    assert "tests.cli.service has no 'nothing'" in program.log


async def test_a_changed_file_starts_the_pool_again_with_the_new_code(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    code = folder / "code_under_work.py"
    code.write_text(
        "from tests.cli.service import Endless, RedispatcherConfig\n"
        "config = RedispatcherConfig(consumers=[Endless])\n"
    )

    with Program(
        tmp_path, "pool", "code_under_work:config", "--reload", dsn=server.dsn, cwd=folder
    ) as program:
        job = await dispatcher.publisher(Endless).publish(Endless.Message())
        await wait_until(lambda: count_running(dispatcher, "endless", 1))

        code.write_text(
            "from tests.cli.service import Echo, RedispatcherConfig\n"
            "config = RedispatcherConfig(consumers=[Echo])\n"
        )

        done = await dispatcher.publisher(Echo).publish(Echo.Message(text="hello"))
        assert await done.result(timeout=20) == "hello!"
        record = await job.info()
        assert record is not None
        assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)
        program.signal()
        assert program.wait() == 0


def read_holders(client: CommandClient) -> set[str]:
    """Return who takes jobs from a queue; an empty name stands for the last upkeep."""
    holders: list[str] = client.execute_command("ZRANGE", "rd:{echo}:leases", "0", "-1")
    return {*holders} - {""}


async def count_running(dispatcher: Redispatcher, queue: str, expected: int) -> bool:
    return (await dispatcher.inspector.counts(queue))[JobState.RUNNING] == expected
