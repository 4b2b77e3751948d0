"""What really happened to the jobs: a file outside of Redis that every process appends to."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.waiting import wait_until

PATIENCE = timedelta(seconds=45)
#: The environment variable that tells a process where the file is.
VARIABLE = "RELIABILITY_ORACLE"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; ``at`` is the machine's monotonic clock, which all processes share."""

    event: str
    job_id: str
    attempt: int
    pid: int
    at: float


def note(event: str, job_id: str = "-", attempt: int = 0) -> None:
    """Append one line to the file of this process's environment."""
    append(VARIABLE, f"{event} {job_id} {attempt}")


def append(variable: str, text: str) -> None:
    """Append ``text``, process id and time to the file that ``variable`` names, in one write."""
    line = f"{text} {os.getpid()} {time.monotonic():.6f}\n"
    file = os.open(os.environ[variable], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


class Oracle:
    """Reads the file as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._offset = 0
        self._entries: list[Entry] = []

    def entries(
        self, event: str | None = None, job_id: str | None = None, *, pid: int | None = None
    ) -> list[Entry]:
        """Return the complete lines so far that are about this."""
        self._read()
        return [
            entry
            for entry in self._entries
            if event in {None, entry.event}
            and job_id in {None, entry.job_id}
            and pid in {None, entry.pid}
        ]

    def starts_per_job(self, job_ids: Iterable[str]) -> dict[str, int]:
        """Return how often each of these jobs was started."""
        counts = Counter(entry.job_id for entry in self.entries("started"))
        return {job_id: counts[job_id] for job_id in job_ids}

    async def wait_for(
        self,
        event: str,
        job_id: str | None = None,
        *,
        pid: int | None = None,
        count: int = 1,
        timeout: timedelta = PATIENCE,
    ) -> list[Entry]:
        """Return the lines about this once there are so many."""
        try:
            await wait_until(
                lambda: len(self.entries(event, job_id, pid=pid)) >= count, timeout=timeout
            )
        except AssertionError:
            raise AssertionError(
                f"{event} {job_id or 'of any job'}: {count} expected, there are only these "
                f"entries: {self.entries(job_id=job_id)}"
            ) from None
        return self.entries(event, job_id, pid=pid)

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        for line in complete.decode().splitlines():
            event, job_id, attempt, pid, at = line.split(" ")
            self._entries.append(Entry(event, job_id, int(attempt), int(pid), float(at)))
