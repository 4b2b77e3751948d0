"""Executes README and reference: every Python block is a module, and is used as it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.servers import RedisServer
from tests.waiting import wait_until_blocking

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
LONGEST = 250
PATIENCE = timedelta(seconds=40)

# What a reader would do with the modules.
USE = """
import asyncio
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redispatcher_fastapi import (
    ConsumerConfig,
    ConsumerPool,
    JobFailedError,
    QueueFullError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.dsn import parse_dsn

from accounts import SyncAccount
from jobs import CallWebhook, call_soon
from main import app
from pool import Resize, publish
from publish_errors import app as erring_app
from redispatcher_fastapi.testing import RedispatcherTester
from redrive_dead import redrive_dead
from traced import TracedConsumer


def test_a_signup_becomes_a_finished_job() -> None:
    with TestClient(app) as client:
        response = client.post("/signup", params={"email": "a@example.com", "name": "Ann"})
        assert response.status_code == 202
        for _ in range(1000):
            state = client.get(f"/jobs/{response.json()}").json()
            if state == "succeeded":
                break
        assert state == "succeeded"


def test_jobs() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[CallWebhook])
    dispatcher = Redispatcher(config, run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)

    async def use() -> None:
        async with app.router.lifespan_context(app):
            assert await call_soon(dispatcher.publisher(CallWebhook)) == 200

    asyncio.run(use())


def test_accounts() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[SyncAccount])
    dispatcher = Redispatcher(config)

    async def use() -> None:
        with RedispatcherTester(dispatcher) as tester:
            publisher = dispatcher.publisher(SyncAccount)
            for is_new in (True, False):
                job = await publisher.publish(SyncAccount.Message(account="ada"))
                assert job.created is is_new
            report = await tester.run_for(timedelta(days=1, hours=1), schedules=True)
            results = [run.result for run in report.of(SyncAccount)]
            assert results[0] == "synced ada, asked for by a click"
            assert results[1].startswith("synced all, asked for by 2")
            await publisher.publish(SyncAccount.Message(account="busy"))
            (run,) = (await tester.run_until_idle()).runs
            assert run.outcome == "limited"

    asyncio.run(use())


def test_a_base_class_sees_the_headers_of_its_consumers(caplog) -> None:
    class Traced(TracedConsumer):
        QUEUE = "traced"

        class Message(TracedConsumer.Message):
            pass

        async def process_message(self, message: Message, headers: TracedConsumer.Headers) -> str:
            return headers.trace_id

    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://", consumers=[Traced]))
    caplog.set_level("INFO")
    with RedispatcherTester(dispatcher) as tester:
        trace_id = tester.run_blocking(Traced, Traced.Message())
    assert f"trace {trace_id}" in caplog.messages


def test_a_publish_that_fails_is_answered_with_503() -> None:
    @erring_app.get("/")
    async def endpoint() -> None:
        raise QueueFullError("no room")

    assert TestClient(erring_app).get("/").status_code == 503


def test_dead_jobs_are_redriven() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[CallWebhook])
    dispatcher = Redispatcher(config, run_pool=True)

    async def use() -> None:
        async with dispatcher.lifespan():
            webhooks = dispatcher.publisher(CallWebhook)
            job = await webhooks.publish(CallWebhook.Message(url="refused"))
            for _ in range(2):
                with pytest.raises(JobFailedError):
                    await job.result(timeout=20)
                assert await redrive_dead(dispatcher.inspector, "call-webhook") >= 1

    asyncio.run(use())


def test_pool() -> None:
    async def use() -> None:
        config = RedispatcherConfig(
            redis_dsn="memory://readme", consumers=[ConsumerConfig(consumer_class=Resize, count=2)]
        )
        async with Connections(config.dsn) as connections:
            broker = Broker(connections, config.engine_settings())
            await publish(connections.publisher)
            await ConsumerPool(config, broker=broker).run(burst=True)
            counts = await broker.count_jobs("resize")
        assert counts["succeeded"] == 1

    asyncio.run(use())
"""


def modules() -> dict[str, str]:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README + REFERENCE, re.DOTALL)
    names = [re.match(r"# (\w+\.py)\n", block) for block in blocks]
    assert all(names), "each Python block begins with the name of its module"
    return {name[1]: block for name, block in zip(names, blocks, strict=True) if name}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with every module of the README in it."""
    for name, text in modules().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "test_use.py").write_text(USE)
    return tmp_path


def environment(dsn: str) -> dict[str, str]:
    return {**os.environ, "REDISPATCHER_REDIS_DSN": dsn, "PYTHONPATH": str(ROOT)}


def run(project: Path, *command: str, dsn: str = "memory://") -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment(dsn),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Program:
    """A process that runs until it is told to end; what it prints goes into a file."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE.total_seconds())


@contextmanager
def start(project: Path, *arguments: str, dsn: str) -> Generator[Program]:
    """Run Python with these arguments in the project's folder."""
    output = project / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=project,
            env=environment(dsn),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield Program(process, output)
    except AssertionError as error:
        error.add_note(output.read_text(encoding="utf-8"))
        raise
    finally:
        process.kill()
        process.wait()


@contextmanager
def serve(project: Path, command: str, *, dsn: str) -> Generator[str]:
    """Run the README's uvicorn command on a free port; provide where it answers."""
    name, *arguments = shlex.split(command)
    assert name == "uvicorn"
    with start(project, "-m", name, *arguments, "--port", "0", dsn=dsn) as server:

        def find_address() -> re.Match[str] | None:
            assert not server.has_ended, server.output
            return re.search(r"running on (http://127\.0\.0\.1:\d+)", server.output)

        wait_until_blocking(lambda: find_address() is not None, timeout=PATIENCE)
        found = find_address()
        assert found
        yield found[1]
        assert server.stop() in {0, -signal.SIGTERM}, server.output
        assert "Traceback" not in server.output


def console_commands() -> list[str]:
    """Return what the README tells to type, without comments."""
    blocks: list[str] = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.join(shlex.split(line[2:], comments=True)) for line in lines]


def call(url: str, *, data: bytes | None = None) -> Any:
    with urlopen(Request(url, data=data), timeout=10) as response:
        return json.load(response)


def sign_up(address: str) -> str:
    """Sign up and return where the application tells of the job, both as the README's curl does."""
    post, get = [shlex.split(line)[-1] for line in console_commands() if line.startswith("curl ")]
    job_id: str = call(post.replace("localhost:8000", address), data=b"")
    return get.replace("localhost:8000", address).replace("ID", job_id)


@pytest.mark.slow
def test_the_application_runs_its_jobs_in_memory_as_the_first_command_says(project: Path) -> None:
    (command,) = [line for line in console_commands() if "memory://" in line]
    dsn, _, server = command.removeprefix("REDISPATCHER_REDIS_DSN=").partition(" ")

    with serve(project, server, dsn=dsn) as address:
        job = sign_up(address)

        wait_until_blocking(lambda: call(job) == "succeeded", timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.redis
def test_a_pool_beside_the_application_runs_its_jobs_on_redis(
    project: Path, redis_server: RedisServer
) -> None:
    main = (project / "main.py").read_text()
    assert main.count(", run_pool=True") == 1
    (project / "main.py").write_text(main.replace(", run_pool=True", ""))
    (server,) = [
        line for line in console_commands() if re.fullmatch(r"uvicorn main:app '?&'?", line)
    ]
    (pool,) = [line for line in console_commands() if line.startswith("redispatcher pool ")]

    with serve(project, server.rpartition(" ")[0], dsn=redis_server.dsn) as address:
        job = sign_up(address)
        assert call(job) == "queued"

        run(
            project, "redispatcher_fastapi", *shlex.split(pool)[1:], "--burst", dsn=redis_server.dsn
        )

        assert call(job) == "succeeded"


@pytest.mark.slow
@pytest.mark.redis
def test_the_program_without_fastapi_stops_on_sigterm(
    project: Path, redis_server: RedisServer
) -> None:
    with start(project, "pool.py", dsn=redis_server.dsn) as program:
        with redis_server.client() as client:
            wait_until_blocking(
                lambda: client.execute_command("EXISTS", "rd:{resize}:leases") == 1,
                timeout=PATIENCE,
            )

        assert program.stop() == 0, program.output


def test_every_module_of_the_readme_does_what_it_says(project: Path) -> None:
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "test_use.py", "test_main.py")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_every_file_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
