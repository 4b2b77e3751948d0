"""``python -m example_app.demo`` and ``python -m example_app.pool``, as a person runs them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.servers import RedisServer
from tests.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]
PATIENCE = timedelta(seconds=40)

pytestmark = pytest.mark.slow


@contextmanager
def run(
    folder: Path, *arguments: str, **environment: str
) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a module of the example; everything it prints goes into a file."""
    output = folder / "output"
    temporary = folder / "tmp"
    temporary.mkdir()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield process, output
    finally:
        process.kill()
        process.wait()


def read(output: Path) -> str:
    return output.read_text(encoding="utf-8")


def wait_for_text(output: Path, text: str) -> None:
    wait_until_blocking(lambda: text in read(output), timeout=PATIENCE)


@pytest.fixture
def short_folder() -> Generator[Path]:
    """A folder whose name leaves room for a socket's path."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


@pytest.mark.redis
def test_once_shows_one_job_on_a_redis_of_its_own_and_leaves_nothing_behind(
    short_folder: Path, redis_server: RedisServer
) -> None:
    with run(short_folder, "example_app.demo", "--once", "--port", "0") as (process, output):
        assert process.wait(PATIENCE.total_seconds()) == 0, read(output)

    text = read(output)
    assert "for this demonstration only" in text
    assert "  succeeded\n" in text
    assert "Subject: Welcome, Ada Lovelace!" in text
    assert "Traceback" not in text
    assert list((short_folder / "tmp").iterdir()) == []


def test_once_works_on_a_machine_without_redis(short_folder: Path) -> None:
    with run(short_folder, "example_app.demo", "--once", "--port", "0", PATH="") as (
        process,
        output,
    ):
        assert process.wait(PATIENCE.total_seconds()) == 0, read(output)

    assert "in memory, as redis-server is not on PATH" in read(output)
    assert "  succeeded\n" in read(output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_on_the_next_free_port_until_it_is_stopped(
    short_folder: Path, number: signal.Signals
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with run(short_folder, "example_app.demo", "--port", str(taken)) as (process, output):
            wait_for_text(output, "Sign up yourself")
            found = re.search(r"API +http://127\.0\.0\.1:(\d+)\n", read(output))
            assert found
            assert int(found[1]) != taken
            with urlopen(f"http://127.0.0.1:{found[1]}/", timeout=10) as page:
                assert b"Example service" in page.read()

            process.send_signal(number)

            assert process.wait(PATIENCE.total_seconds()) == 0, read(output)
    assert "Traceback" not in read(output)
    assert list((short_folder / "tmp").iterdir()) == []


@pytest.mark.redis
def test_the_consumers_run_without_the_api(short_folder: Path, redis_server: RedisServer) -> None:
    environment = {"REDISPATCHER_REDIS_DSN": redis_server.dsn, "DATA_DIR": str(short_folder)}
    with run(short_folder, "example_app.pool", **environment) as (process, output):
        with redis_server.client() as client:
            wait_until_blocking(
                lambda: client.execute_command("EXISTS", "rd:{webhooks}:leases") == 1,
                timeout=PATIENCE,
            )
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE.total_seconds()) == 0, read(output)
