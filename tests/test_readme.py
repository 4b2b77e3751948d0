"""Executes README and reference: every Python block is a module, and is used as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
LONGEST = 250

# What a reader would do with the modules.
USE = """
import asyncio

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

from jobs import CallWebhook, call_soon
from main import app
from pool import Resize, publish
from publish_errors import app as erring_app
from redrive_dead import redrive_dead


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


def run(project: Path, *command: str) -> None:
    environment = {**os.environ, "REDISPATCHER_REDIS_DSN": "memory://", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_of_the_readme_does_what_it_says(project: Path) -> None:
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "test_use.py", "test_main.py")


def test_the_modules_of_the_readme_satisfy_mypy_strict(project: Path) -> None:
    run(project, "mypy", "--strict", *sorted(set(modules()) - {"test_main.py"}))


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


def test_every_file_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
