"""What really happened to the jobs: a file outside of Redis that every process appends to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.oracle import append

#: The environment variable that tells a process where the file is.
VARIABLE = "CHAOS_JOURNAL"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; ``at`` is the machine's monotonic clock, which all processes share.

    ``run`` is ``<holder>/<token>``: the delivery that an event belongs to.
    """

    event: str
    job_id: str
    run: str
    pid: int
    at: float


def note(event: str, job_id: str = "-", run: str = "-") -> None:
    """Append one line to the file of this process's environment."""
    append(VARIABLE, f"{event} {job_id} {run}")


class Journal:
    """Reads the file as it grows; with ``only``, it keeps entries about one kind of event alone."""

    def __init__(self, path: Path, *, only: str | None = None) -> None:
        self.path = path
        self._only = only
        path.touch()
        self._offset = 0
        self._entries: list[Entry] = []
        self._ready: set[int] = set()

    def is_ready(self, pid: int) -> bool:
        """Tell whether a process has begun to take jobs."""
        self._read()
        return pid in self._ready

    def entries(self, event: str) -> list[Entry]:
        """Return the complete lines so far that are about one kind of event."""
        self._read()
        return [entry for entry in self._entries if entry.event == event]

    def by_job(self, event: str) -> Mapping[str, Sequence[Entry]]:
        """Return the same by job, in the order they were written."""
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries(event):
            found[entry.job_id].append(entry)
        return found

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        for line in complete.decode().splitlines():
            event, job_id, run, pid, at = line.split(" ")
            if self._only in {None, event}:
                self._entries.append(Entry(event, job_id, run, int(pid), float(at)))
            if event == "ready":
                self._ready.add(int(pid))
