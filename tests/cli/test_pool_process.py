"""``redispatcher pool`` as it is run in production: a process, a real Redis, signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.job import JobState
from tests.cli.consumers import Echo, Endless, Failing, Held, Seeing, Stuck
from tests.cli.programs import SERVICE, Program
from tests.servers import RedisServer, RedisServers, skip_or_fail
from tests.waiting import wait_until

pytestmark = [pytest.mark.redis, pytest.mark.slow]


async def test_sigterm_lets_a_running_job_finish_and_ends_with_0(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, dsn=server.dsn) as program:
        job = await dispatcher.publisher(Held).publish(Held.Message(until=tmp_path / "released"))
        await wait_until(lambda: is_running(dispatcher, job.queue, job.id))

        program.signal(signal.SIGTERM)
        program.wait_for("Stopping: no new jobs")
        (tmp_path / "released").touch()

        assert program.wait() == 0
        assert await job.state() is JobState.SUCCEEDED
        assert program.output == "closed\n"


async def test_a_second_signal_stops_at_once_and_the_job_is_queued_again(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", SERVICE, dsn=server.dsn) as program:
        job = await dispatcher.publisher(Endless).publish(Endless.Message())
        await wait_until(lambda: is_running(dispatcher, job.queue, job.id))

        program.signal(signal.SIGINT)
        program.wait_for("Stopping: no new jobs")
        program.signal(signal.SIGINT)

        assert program.wait() == 0
        record = await job.info()
        assert record is not None
        assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)


async def test_sigusr1_drains_without_a_limit_of_time_and_ends_with_0(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", "tests.cli.service:hurried", dsn=server.dsn) as program:
        held = dispatcher.publisher(Held)
        job = await held.publish(Held.Message(until=tmp_path / "released"))
        await wait_until(lambda: is_running(dispatcher, job.queue, job.id))

        program.signal(signal.SIGUSR1)
        (draining,) = program.wait_for_events("pool.draining", count=1)
        late = await held.publish(Held.Message(until=tmp_path / "released"))
        await wait_until(lambda: has_token(server))
        (tmp_path / "released").touch()

        assert program.wait() == 0
        assert draining["running"] == 1
        record = await job.info()
        assert record is not None
        assert (record.state, record.attempts) == (JobState.SUCCEEDED, 1)
        assert await late.state() is JobState.QUEUED


async def test_sigterm_ends_a_drain_within_the_grace_period(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", "tests.cli.service:hurried", dsn=server.dsn) as program:
        job = await dispatcher.publisher(Held).publish(Held.Message(until=tmp_path / "never"))
        await wait_until(lambda: is_running(dispatcher, job.queue, job.id))

        program.signal(signal.SIGUSR1)
        program.wait_for_events("pool.draining", count=1)
        program.signal()

        assert program.wait() == 0
        record = await job.info()
        assert record is not None
        assert (record.state, record.attempts, record.losses) == (JobState.QUEUED, 0, 0)


async def test_a_thread_that_cannot_be_stopped_does_not_keep_the_process(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    with Program(tmp_path, "pool", "tests.cli.service:impatient", dsn=server.dsn) as program:
        job = await dispatcher.publisher(Stuck).publish(Stuck.Message())
        await wait_until(lambda: is_running(dispatcher, job.queue, job.id))

        program.signal()

        assert program.wait() == 0
        assert await job.state() is JobState.QUEUED


async def test_burst_runs_everything_that_can_run_now_and_ends_with_0(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    jobs = await dispatcher.publisher(Echo).publish_many(
        [Echo.Message(text=str(number)) for number in range(50)]
    )

    with Program(tmp_path, "pool", SERVICE, "--burst", dsn=server.dsn) as program:
        assert program.wait() == 0

    assert [await job.result(timeout=1) for job in jobs] == [f"{number}!" for number in range(50)]


async def test_dependencies_see_the_application_as_its_endpoints_do(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Seeing).publish(Seeing.Message())

    with Program(tmp_path, "pool", SERVICE, "--burst", dsn=server.dsn) as program:
        assert program.wait() == 0

    assert await job.result(timeout=1) == "hello you overridden"


@pytest.mark.parametrize("name", ["dispatcher", "dispatcher.config"])
async def test_a_pool_runs_without_an_application_too(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher, name: str
) -> None:
    job = await dispatcher.publisher(Echo).publish(Echo.Message(text="hello"))
    target = f"tests.cli.service:{name}"

    with Program(tmp_path, "pool", target, "--burst", "--queue", "echo", dsn=server.dsn) as program:
        assert program.wait() == 0

    assert await job.result(timeout=1) == "hello!"


@pytest.mark.parametrize("name", ["app", "dispatcher"])
async def test_the_dispatcher_knows_the_pool_of_its_process_and_that_its_hooks_and_middleware(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher, name: str
) -> None:
    (tmp_path / "watched.py").write_text(
        "from fastapi import FastAPI\n"
        "from redispatcher_fastapi import (\n"
        "    BaseConsumer, Middleware, PoolHooks, Redispatcher, RedispatcherConfig\n"
        ")\n"
        "class Look(BaseConsumer):\n"
        "    QUEUE = 'echo'\n"
        "    class Message(BaseConsumer.Message):\n"
        "        text: str\n"
        "    async def process_message(self, message: Message) -> str:\n"
        "        health = dispatcher.pool_health\n"
        "        return f'{health and (health.state.value, health.running)}'\n"
        "class Printing(PoolHooks):\n"
        "    def job_started(self, delivery, name):\n"
        "        print('started', name, flush=True)\n"
        "class Stamping(Middleware):\n"
        "    async def around_run(self, run, call_next):\n"
        "        return await call_next() + '!'\n"
        "dispatcher = Redispatcher(\n"
        "    RedispatcherConfig(consumers=[Look]), hooks=Printing(), middleware=[Stamping()]\n"
        ")\n"
        "app = FastAPI()\n"
        "app.include_router(dispatcher.router)\n"
    )
    job = await dispatcher.publisher(Echo).publish(Echo.Message(text="look"))

    with Program(
        tmp_path, "pool", f"watched:{name}", "--burst", dsn=server.dsn, cwd=tmp_path
    ) as program:
        assert program.wait() == 0

    assert await job.result(timeout=1) == "('running', 1)!"
    assert program.output == "started Look\n"


async def test_the_pool_that_the_application_would_run_itself_does_not_run_beside_it(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Endless)
    jobs = await publisher.publish_many([Endless.Message() for _ in range(5)])

    with Program(tmp_path, "pool", SERVICE, dsn=server.dsn) as program:
        await wait_until(lambda: is_running(dispatcher, "endless", jobs[1].id))
        after = await dispatcher.publisher(Echo).publish(Echo.Message(text="later"))
        await after.result(timeout=10)

        counts = await dispatcher.inspector.counts("endless")
        assert counts[JobState.RUNNING] == 2  # its count in the configuration, and not twice that
        assert program.log.count("append-only") == 1


async def test_only_the_queues_that_were_asked_for_are_served(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    left = await dispatcher.publisher(Seeing).publish(Seeing.Message())
    done = await dispatcher.publisher(Echo).publish(Echo.Message(text="hello"))

    with Program(
        tmp_path, "pool", SERVICE, "--burst", "--queue", "echo", "--queue", "held", dsn=server.dsn
    ) as program:
        assert program.wait() == 0
        queues = [record["queue"] for record in program.events("pool.consumer")]

    assert queues == ["echo", "held"]
    assert await done.state() is JobState.SUCCEEDED
    assert await left.state() is JobState.QUEUED


def test_the_start_says_what_runs_where_without_the_password(
    tmp_path: Path, redis_servers: RedisServers
) -> None:
    server = redis_servers.start(config={"requirepass": "s3cr3t"})

    with Program(tmp_path, "pool", SERVICE, "--burst", dsn=server.dsn) as program:
        assert program.wait() == 0

    assert program.events("pool.starting")[0]["target"] == SERVICE
    redis = program.events("pool.redis")[0]
    assert redis["dsn"] == f"redis://:***@127.0.0.1:{server.port}/0"
    assert redis["server"].split()[0] in {"Redis", "Valkey"}
    assert [record["slots"] for record in program.events("pool.consumer")] == [10, 10, 2, 10, 10]
    assert program.events("pool.slots")[0]["slots"] == 42
    assert "s3cr3t" not in program.log


async def test_log_lines_are_json_and_hold_no_message(
    tmp_path: Path, server: RedisServer, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Echo).publish(Echo.Message(text="a secret text"))
    await dispatcher.publisher(Failing).publish(Failing.Message(number=42))

    with Program(
        tmp_path, "pool", SERVICE, "--burst", "--log-level", "debug", dsn=server.dsn
    ) as program:
        assert program.wait() == 0

    assert all({"time", "level", "message"} <= record.keys() for record in program.records)
    assert len(program.events("job.succeeded")) == 1
    assert len(program.events("job.retried")) == 1
    assert "secret" not in program.log


def test_text_can_be_asked_for(tmp_path: Path, server: RedisServer) -> None:
    with Program(
        tmp_path, "pool", SERVICE, "--burst", "--log-format", "text", dsn=server.dsn
    ) as program:
        assert program.wait() == 0

    assert "Echo takes jobs from echo, 10 at a time.\n" in program.log
    assert "{" not in program.log


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_wrong_password_ends_it_with_78(
    tmp_path: Path, redis_servers: RedisServers, processes: str
) -> None:
    server = redis_servers.start(config={"requirepass": "right"})
    wrong = server.dsn.replace("right", "wrong")

    with Program(tmp_path, "pool", SERVICE, "--processes", processes, dsn=wrong) as program:
        assert program.wait() == 78

    assert "The pool cannot run" in program.log
    assert "Traceback" not in program.log


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_user_without_the_rights_of_a_pool_ends_it_with_78_before_it_tells_of_slots(
    tmp_path: Path, redis_servers: RedisServers, processes: str
) -> None:
    server = redis_servers.start()
    with server.client() as admin:
        if not admin.execute_command("EVAL", "return redis.acl_check_cmd and 1 or 0", 0):
            skip_or_fail("this server cannot be asked for rights", lacking="rights")
        rights = ("+@all", "-lpop", "~*", "&*")
        admin.execute_command("ACL", "SETUSER", "half", "on", "nopass", *rights)
    dsn = f"redis://half:any@127.0.0.1:{server.port}"

    with Program(tmp_path, "pool", SERVICE, "--processes", processes, dsn=dsn) as program:
        assert program.wait() == 78

    assert "The pool cannot run: This user of Redis may not use LPOP" in program.log
    assert "see 'Permissions in Redis' in the reference" in program.log
    assert f"Asked at redis://half:***@127.0.0.1:{server.port}." in program.log
    assert not program.events("pool.slots")
    assert "Traceback" not in program.log


async def test_a_redis_that_cannot_be_reached_is_waited_for(
    tmp_path: Path, redis_servers: RedisServers
) -> None:
    server = redis_servers.start()
    server.stop()

    with Program(tmp_path, "pool", SERVICE, dsn=server.dsn) as program:
        program.wait_for("Redis cannot be reached, trying again")
        server.start()
        dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=server.dsn))
        async with dispatcher.lifespan():
            job = await dispatcher.publisher(Echo).publish(Echo.Message(text="hello"))
            assert await job.result(timeout=20) == "hello!"

        program.signal()
        assert program.wait() == 0


def test_a_pool_that_waits_for_redis_can_be_stopped(
    tmp_path: Path, redis_servers: RedisServers
) -> None:
    server = redis_servers.start()
    server.stop()

    with Program(tmp_path, "pool", SERVICE, dsn=server.dsn) as program:
        program.wait_for("Redis cannot be reached, trying again")
        program.signal()

        assert program.wait() == 0


async def is_running(dispatcher: Redispatcher, queue: str, job_id: str) -> bool:
    record = await dispatcher.inspector.job(queue, job_id)
    return record is not None and record.state is JobState.RUNNING


async def has_token(server: RedisServer) -> bool:
    """Tell whether somebody may claim what was published to the held-up consumer."""
    with server.client() as client:
        return bool(client.execute_command("EXISTS", "rd:{held}:wake"))
