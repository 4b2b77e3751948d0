"""What really happened to the jobs, and what the workers logged: files outside of Redis.

Every process appends to them. Standard library only: programs of peers import this.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

JOURNAL = "BENCH_JOURNAL"
LOG = "BENCH_LOG"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a job; ``at`` is the machine's monotonic clock, which all processes share.

    ``run`` tells several runs of one job apart.
    """

    event: str
    job: str
    run: str
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Line:
    """What a worker logged."""

    level: int
    text: str
    pid: int
    at: float


def note(event: str, job: str = "-", run: str = "-") -> None:
    """Append one event to the journal of this process's environment."""
    _append(JOURNAL, f"{event} {job} {run} {os.getpid()} {time.monotonic():.6f}\n")


def keep_log() -> None:
    """Let everything that is logged from INFO on be kept, whatever else is done with it."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(_Keeper(logging.INFO))


class _Keeper(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = Line(record.levelno, record.getMessage(), os.getpid(), time.monotonic())
        _append(LOG, f"{json.dumps(asdict(line))}\n")


def _append(variable: str, line: str) -> None:
    """Write it at once: who is killed in the next moment has still said it."""
    file = os.open(os.environ[variable], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


class Journal:
    """Reads both files as they grow."""

    def __init__(self, folder: Path) -> None:
        self._journal = folder / "journal"
        self._log = folder / "log"
        self.variables = {JOURNAL: str(self._journal), LOG: str(self._log)}
        self._journal.touch()
        self._log.touch()

    def entries(self, event: str, jobs: str = "") -> list[Entry]:
        """Return the events of one kind, in order, of the jobs whose names begin with ``jobs``."""
        found: list[Entry] = []
        for line in _read_lines(self._journal):
            kind, job, run, pid, at = line.split(" ")
            if kind == event and job.startswith(jobs):
                found.append(Entry(kind, job, run, int(pid), float(at)))
        return found

    def running(self, jobs: str) -> Mapping[int, Sequence[Entry]]:
        """Return the runs that have begun and not finished, by process."""
        finished = {entry.run for entry in self.entries("finished", jobs)}
        found: defaultdict[int, list[Entry]] = defaultdict(list)
        for entry in self.entries("started", jobs):
            if entry.run not in finished:
                found[entry.pid].append(entry)
        return found

    def lines(self, *, level: int, since: float) -> list[Line]:
        """Return what was logged since then, at that level or above."""
        lines = [Line(**json.loads(line)) for line in _read_lines(self._log)]
        return [line for line in lines if line.level >= level and line.at >= since]


def _read_lines(path: Path) -> list[str]:
    complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return complete.split("\n") if complete else []
