"""The application under a real server, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx
import pytest

from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.job import JobRecord, JobState
from tests.servers import RedisServer
from tests.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]


@contextmanager
def serve(folder: Path, dsn: str) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """Run the application under uvicorn on a unix socket, which needs no free port."""
    with TemporaryDirectory(prefix="served-") as place:
        path = str(Path(place) / "http")
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "tests.fastapi.served_app:app", "--uds", path],
            cwd=ROOT,
            env={**os.environ, "WORK": str(folder), "REDISPATCHER_REDIS_DSN": dsn},
        )
        try:
            wait_until_blocking(lambda: accepts(path) or server.poll() is not None)
            yield server, path
        finally:
            server.kill()
            server.wait()


def accepts(path: str) -> bool:
    """Return whether the server takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@pytest.mark.redis
@pytest.mark.slow
def test_a_job_in_hand_is_finished_before_the_application_closes(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")

    with serve(tmp_path, redis_server.dsn) as (server, path):
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport, base_url="http://served") as http:
            job_id = http.post("/work").json()
        wait_until_blocking((tmp_path / "started").exists)
        server.send_signal(signal.SIGTERM)
        wait_until_blocking(lambda: not accepts(path))
        assert not (tmp_path / "closed").exists()
        (tmp_path / "release").touch()
        code = server.wait(10)

    assert code in {0, -signal.SIGTERM}  # newer servers end by the signal they were sent
    assert (tmp_path / "closed").exists()
    record = anyio.run(look_up, redis_server.dsn, job_id)
    assert record is not None
    assert (record.state, record.attempts) == (JobState.SUCCEEDED, 1)


async def look_up(dsn: str, job_id: str) -> JobRecord | None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=dsn))
    async with dispatcher.lifespan():
        return await dispatcher.inspector.job("work", job_id)
