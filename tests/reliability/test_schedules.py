"""Exactly one job per tick: many processes, clocks that are wrong, and a Redis that is killed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from redispatcher_fastapi.schedules.ticks import tick_of
from tests.chaos.clock import Clock, build_library
from tests.reliability.scheduled import COUNT, NOTES, PROCESS
from tests.servers import RedisServer, RedisServers, skip_or_fail
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SECOND = timedelta(seconds=1)
PATIENCE = timedelta(seconds=120)

logger = logging.getLogger("tests.schedules")

pytestmark = [pytest.mark.redis, pytest.mark.slow]


class Notes:
    """What the handlers wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[tuple[str, float, str]]:
        """Return process, local time and job id of every run."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        return [(process, float(at), job) for process, at, job in map(str.split, lines)]

    def ticks(self) -> dict[str, Counter[datetime]]:
        """Return how often each tick of each schedule ran."""
        found: dict[str, Counter[datetime]] = defaultdict(Counter)
        for _, _, job in self.read():
            tick = tick_of(job)
            assert tick is not None
            found[job.partition(":")[0]][tick] += 1
        return found

    def ticked(self, schedules: int, ticks: int) -> bool:
        """Whether each schedule ran so many ticks."""
        found = self.ticks()
        return len(found) == schedules and min(map(len, found.values())) >= ticks


@contextmanager
def pools(
    server: RedisServer, notes: Notes, folder: Path, offsets: list[float], schedules: int
) -> Generator[list[subprocess.Popen[bytes]]]:
    """Run ``redispatcher pool`` in processes whose clocks are so many seconds wrong."""
    if not (shutil.which("gcc") or shutil.which("cc")):
        skip_or_fail("there is no C compiler")
    library = build_library(folder)
    processes: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        for number, offset in enumerate(offsets):
            clock = Clock(library, folder / f"clock-{number}", seconds=offset)
            log = stack.enter_context((folder / f"pool-{number}.log").open("wb"))
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "redispatcher_fastapi", "pool"),
                    "tests.reliability.scheduled:config",
                ],
                cwd=ROOT,
                env={
                    **os.environ,
                    **clock.environment,
                    "PYTHONPATH": str(ROOT),
                    "REDISPATCHER_REDIS_DSN": server.dsn,
                    NOTES: str(notes.path),
                    COUNT: str(schedules),
                    PROCESS: str(number),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield processes
        for process in processes:
            process.terminate()
        for process in processes:
            assert process.wait(60) == 0


def judge(notes: Notes, ticks: int) -> tuple[int, int, int]:
    """Return how many ticks there were, how many of them ran twice, and how many never."""
    total = doubles = misses = 0
    for counted in notes.ticks().values():
        doubles += sum(1 for runs in counted.values() if runs > 1)
        first = min(counted)
        expected = {first + number * SECOND for number in range(ticks)}
        total += len(expected)
        misses += len(expected - set(counted))
    return total, doubles, misses


async def ticks_run_once(
    server: RedisServer,
    folder: Path,
    *,
    offsets: list[float],
    schedules: int,
    ticks: int,
    kills: int,
    outage: timedelta = timedelta(),
) -> None:
    notes = Notes(folder / "notes")

    with pools(server, notes, folder, offsets, schedules):
        for kill in range(kills):
            until = ticks * (kill + 1) // (kills + 2)
            await wait_until(lambda: notes.ticked(schedules, until), timeout=PATIENCE)  # noqa: B023  # awaited here
            server.kill()
            await anyio.sleep(outage.total_seconds())
            server.start()
        await wait_until(lambda: notes.ticked(schedules, ticks), timeout=PATIENCE)

    total, doubles, misses = judge(notes, ticks)
    fired_by = Counter(process for process, _, _ in notes.read())
    logger.info(
        "%d ticks of %d schedules, %d processes (%s runs each), Redis killed %d times: "
        "%d doubles, %d misses",
        *(total, schedules, len(offsets), sorted(fired_by.values()), kills, doubles, misses),
    )
    assert (total, doubles, misses) == (schedules * ticks, 0, 0)


async def test_each_tick_runs_once_whatever_the_clocks_say_and_though_redis_is_killed(
    redis_servers: RedisServers, tmp_path: Path
) -> None:
    server = redis_servers.start(is_durable=True)

    await ticks_run_once(server, tmp_path, offsets=[-90, 0, 90], schedules=10, ticks=4, kills=1)


@pytest.mark.long
async def test_a_thousand_ticks_run_once_over_six_processes(
    redis_servers: RedisServers, tmp_path: Path
) -> None:
    server = redis_servers.start(is_durable=True)

    await ticks_run_once(
        server,
        tmp_path,
        offsets=[-90, -54, -18, 18, 54, 90],
        schedules=20,
        ticks=50,
        kills=2,
        outage=timedelta(seconds=3),
    )
