"""How ``redispatcher pool`` ends when it cannot begin, or is stopped while it does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.programs import SERVICE, Program

pytestmark = pytest.mark.slow

MEMORY = "memory://"


def test_an_application_that_does_not_start_ends_it_with_1_and_the_traceback(
    tmp_path: Path,
) -> None:
    with Program(
        tmp_path, "pool", SERVICE, dsn=MEMORY, environment={"SERVICE_START": "fail"}
    ) as program:
        assert program.wait() == 1

    (record,) = program.records
    assert record["message"] == "The application 'FastAPI' did not start."
    assert "LookupError: the database is not there" in record["traceback"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_application_that_is_starting(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Program(
        tmp_path, "pool", SERVICE, dsn=MEMORY, environment={"SERVICE_START": "hang"}
    ) as program:
        program.wait_for("starting")
        program.signal(number)

        assert program.wait() == 0
    assert "Traceback" not in program.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_import(tmp_path: Path, number: signal.Signals) -> None:
    # It waits for something to be written into the pipe, and nothing is.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "slow.py").write_text("print('importing', flush=True)\nopen('pipe').read()\n")

    with Program(tmp_path, "pool", "slow:app", cwd=tmp_path) as program:
        program.wait_for("importing")
        program.signal(number)

        assert program.wait() == 0
    assert program.log == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_while_the_process_leaves_changes_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "leaving.py").write_text(
        "import atexit\n"
        "from tests.cli.service import app\n"
        "@atexit.register\n"
        "def leave():\n"
        "    print('last words', flush=True)\n"
        "    open('pipe').read()\n"
    )

    with Program(tmp_path, "pool", "leaving:app", "--burst", dsn=MEMORY, cwd=tmp_path) as program:
        program.wait_for("last words")
        program.signal(number)
        (tmp_path / "pipe").write_text("go")

        assert program.wait() == 0
    assert "Traceback" not in program.log


def test_a_module_in_the_current_directory_is_found_and_its_error_shown(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")

    with Program(tmp_path, "pool", "broken:app", cwd=tmp_path) as program:
        assert program.wait() == 2

    (record,) = program.records
    assert record["message"].startswith("Importing broken raised ZeroDivisionError")
    assert "broken.py" in record["traceback"]


def test_an_application_without_a_dispatcher_is_told_what_to_include(tmp_path: Path) -> None:
    with Program(
        tmp_path, "pool", "tests.cli.service:app_without_dispatcher", dsn=MEMORY
    ) as program:
        assert program.wait() == 2

    (record,) = program.records
    assert "include its router with `app.include_router(dispatcher.router)`" in record["message"]
    assert "traceback" not in record


@pytest.mark.parametrize("dsn", ["", "nonsense://somewhere"])
def test_a_configuration_that_cannot_be_used_ends_it_with_78(tmp_path: Path, dsn: str) -> None:
    with Program(tmp_path, "pool", SERVICE, dsn=dsn, environment={"REDIS_DSN": ""}) as program:
        assert program.wait() == 78

    (record,) = program.records
    assert record["message"].startswith("The pool cannot run: RedispatcherConfig cannot be used.")


def test_a_queue_without_a_consumer_is_refused_with_those_that_have_one(tmp_path: Path) -> None:
    with Program(tmp_path, "pool", SERVICE, "--queue", "ecco", dsn=MEMORY) as program:
        assert program.wait() == 78

    assert "'ecco'; it has: echo, endless, failing, held, seeing" in program.log


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reload", "--burst"),
        ("--reload", "--processes", "2"),
        ("--processes", "0"),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
    ],
)
def test_options_that_make_no_sense_end_it_with_2(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with Program(tmp_path, "pool", SERVICE, *arguments, dsn=MEMORY) as program:
        assert program.wait() == 2


def test_the_version_is_told(tmp_path: Path) -> None:
    with Program(tmp_path, "--version") as program:
        assert program.wait() == 0

    assert program.output.startswith("redispatcher_fastapi ")
