"""A file shared between processes: when each job was published (or due), and when it started.

Each job has its own slot, so any number of processes write without a lock or a shared counter; a
record costs a read of the clock and a store to memory. Times are ``time.monotonic()``, which Linux
and macOS share between processes. Standard library only: programs of peers import this.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

VARIABLE = "BENCH_RECORD"
_SLOT = 8


class Record:
    """The file, mapped: ``published[index]`` and ``started[index]`` are 0.0 until they happen."""

    def __init__(self, path: Path, *, jobs: int | None = None) -> None:
        """Open the file; with ``jobs``, make it anew for so many."""
        if jobs is not None:
            with path.open("wb") as file:
                file.truncate(2 * _SLOT * jobs)
        with path.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
        times = memoryview(mapping).cast("d")
        self.jobs = len(times) // 2
        self.published = times[: self.jobs]
        self.started = times[self.jobs :]


def _record_from_environment() -> Record | None:
    path = os.environ.get(VARIABLE)
    return Record(Path(path)) if path else None


def _recording(slots: memoryview[float] | None) -> Callable[[int], None]:
    if slots is None:  # a program that is run by hand
        return lambda index: None

    def record(
        index: int, slots: memoryview[float] = slots, now: Callable[[], float] = monotonic
    ) -> None:
        slots[index] = now()

    return record


_record = _record_from_environment()
record_start = _recording(_record.started if _record else None)
"""Called by every job with its index, and by nothing else."""
record_publish = _recording(_record.published if _record else None)
"""Called by producing.py just before a job is published."""


def record_due(index: int, due: float) -> None:
    """Note when a job should start, on the monotonic clock."""
    if _record:
        _record.published[index] = due
