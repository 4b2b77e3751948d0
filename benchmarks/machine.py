"""Where the benchmark runs, and how busy other programs keep that machine."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.results import Machine


def describe(redis_version: str) -> Machine:
    """This machine, as it is before the run."""
    return Machine(
        processor=_read_processor(),
        cores=_count_cores(),
        memory=psutil.virtual_memory().total,
        system=_read_system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        redis=redis_version,
        load_before=os.getloadavg()[0],
    )


class Busy:
    """Measures the share of all cores that programs other than ours use.

    Time that a hypervisor gave to other machines counts as theirs too.
    """

    def __init__(self, own_pids: Callable[[], set[int]]) -> None:
        """``own_pids`` are the processes of the benchmark at the moment it is called."""
        self._own_pids = own_pids
        self._start = self._look()

    def start(self) -> None:
        """Begin what the next ``stop`` ends."""
        self._start = self._look()

    def stop(self) -> float:
        """The share since ``start``, or since this was made."""
        return _compare(self._start, self._look())

    def sample(self, seconds: float) -> float:
        """The share during the next ``seconds``."""
        start = self._look()
        time.sleep(seconds)
        return _compare(start, self._look())

    def _look(self) -> _Look:
        # Our own time first: what passes in between counts as foreign rather than as negative.
        own = sum(map(_read_process_seconds, self._own_pids()))
        times = psutil.cpu_times()._asdict()
        # What guests used is part of user and nice already.
        total = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
        return _Look(total=total, idle=times["idle"] + times.get("iowait", 0.0), own=own)


@dataclass(frozen=True, slots=True)
class _Look:
    """Seconds of all cores since the start of the machine, and of ours since they started."""

    total: float
    idle: float
    own: float


def _compare(start: _Look, end: _Look) -> float:
    total = end.total - start.total
    if total <= 0:
        return 0.0
    foreign = total - (end.idle - start.idle) - (end.own - start.own)
    return min(1.0, max(0.0, foreign / total))


def _read_process_seconds(pid: int) -> float:
    """What a process used, with its children that have ended and were waited for."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def _read_processor() -> str:
    """The name of the model, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _count_cores() -> int:
    """Those that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_system() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}"
