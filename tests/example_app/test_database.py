"""The example's database, when several processes meet an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AT_ONCE = 4
ROUNDS = 10

# Prepares one folder after the other, each when it is told to.
PROCESS = """
import asyncio
import os
import sys

from example_app.database import create_tables, get_engine
from example_app.settings import get_settings

print("ready", flush=True)
for line in sys.stdin:
    os.environ["DATA_DIR"] = line.strip()
    get_engine.cache_clear()
    get_settings.cache_clear()
    try:
        asyncio.run(create_tables())
    except Exception as error:
        print(repr(error).replace("\\n", " "), flush=True)
    else:
        print("created", flush=True)
"""


@contextmanager
def run() -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_processes_that_start_in_an_empty_folder_at_the_same_moment_all_start(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(run()) for _ in range(AT_ONCE)]
        assert [hear(process) for process in processes] == ["ready"] * AT_ONCE

        answers: set[str] = set()
        for number in range(ROUNDS):
            for process in processes:
                tell(process, str(tmp_path / f"round-{number}"))
            answers.update(hear(process) for process in processes)

    assert answers == {"created"}
