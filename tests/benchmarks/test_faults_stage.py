"""The stage of the faults, with this library on it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from benchmarks.environments import Environment
from benchmarks.faults.contenders import CONTENDERS
from benchmarks.faults.faults import FAULTS
from benchmarks.faults.fleet import Fleet, send
from benchmarks.faults.outcomes import Kill
from benchmarks.faults.serving import Answer
from benchmarks.faults.stage import Stage
from benchmarks.faults.work import SLOTS, pid_of
from benchmarks.processes import ProgramFailedError
from tests.servers import find_redis_server, skip_or_fail
from tests.waiting import wait_until_blocking

PATIENCE = timedelta(seconds=30)
OURS = CONTENDERS[0]


@pytest.fixture
def stage() -> Iterator[Stage]:
    if find_redis_server() is None:
        skip_or_fail("redis-server is not on PATH")
    with Stage(OURS, Environment.of_harness()) as stage:
        yield stage


@pytest.mark.redis
@pytest.mark.slow
def test_a_job_tells_which_run_of_it_gave_the_result(stage: Stage) -> None:
    stage.publish("job", 0.01)

    assert stage.wait_until_finished(["job"], "job", PATIENCE.total_seconds())
    wait_until_blocking(lambda: stage.ask("job").state == "done", timeout=PATIENCE)
    (run,) = stage.journal.entries("started", "job")
    assert stage.ask("job") == Answer("done", "succeeded", run.run)
    assert pid_of(run.run) == run.pid
    assert run.pid in stage.alive()


@pytest.mark.redis
@pytest.mark.slow
def test_a_worker_that_a_job_killed_is_replaced(stage: Stage) -> None:
    before = stage.alive()

    stage.publish("killer", 0.0, kills=True)

    wait_until_blocking(lambda: len(stage.alive() - before) == 1, timeout=PATIENCE)
    (run,) = stage.journal.entries("killing", "killer")
    assert run.pid in before - stage.alive()
    assert stage.ask("killer") == Answer("open", "running")


@pytest.mark.redis
@pytest.mark.slow
def test_of_this_library_no_job_of_a_killed_worker_is_lost(stage: Stage) -> None:
    outcome = FAULTS["kill"](stage, 1)

    assert isinstance(outcome, Kill)
    assert outcome.held == SLOTS == len(outcome.restarts)
    assert (outcome.lost, outcome.finished_twice) == (0, 0)
    assert min(outcome.restarts) > OURS.lease / 2


def test_workers_that_do_not_keep_running_are_noticed() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such broker')"]

    with Fleet(command, variables={}, starts=2) as fleet:
        wait_until_blocking(lambda: _has_failed(fleet), timeout=PATIENCE)

        with pytest.raises(ProgramFailedError, match=r"do not keep running: .*no such broker"):
            fleet.check()


def test_a_signal_to_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    send(process.pid, signal.SIGCONT)


def _has_failed(fleet: Fleet) -> bool:
    try:
        fleet.check()
    except ProgramFailedError:
        return True
    return False
