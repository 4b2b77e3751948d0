"""The processes of a side: started, watched, ended, and nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks.environments import CHECKOUT, Environment

_STOP_SECONDS = 10


class ProgramFailedError(Exception):
    """Raised when a side's program ends, or does not end, other than it should."""


@dataclass(frozen=True, slots=True)
class Produced:
    """What a producer says it did."""

    jobs: int
    elapsed: float
    """Seconds."""
    cpu: float
    """Seconds, all threads."""

    @property
    def jobs_per_second(self) -> float:
        return self.jobs / self.elapsed


def run_program(
    environment: Environment,
    module: str,
    *arguments: object,
    variables: Mapping[str, str],
    seconds: float,
) -> dict[str, Any]:
    """Run a module to its end and return the JSON it prints last.

    Raises:
        ProgramFailedError: it failed, or took longer than ``seconds``.
    """
    command = [environment.python, "-m", module, *map(str, arguments)]
    with Running(command, variables=variables) as running:
        lines = running.wait(seconds)
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ProgramFailedError(f"{module} printed no figures") from None
    return answer


def produce(
    environment: Environment,
    program: str,
    command: str,
    *,
    variables: Mapping[str, str],
    seconds: float,
    **options: object,
) -> Produced:
    """Run a side's producer."""
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    answer = run_program(
        environment,
        f"benchmarks.programs.{program}",
        command,
        *arguments,
        variables=variables,
        seconds=seconds,
    )
    return Produced(**answer)


class Running:
    """A process with its children, from entering to leaving."""

    def __init__(self, command: list[str], *, variables: Mapping[str, str]) -> None:
        self._command = command
        self._variables = variables
        self._output: Any = None

    def __enter__(self) -> Self:
        # A file rather than a pipe: nobody has to read it while the process runs.
        self._output = TemporaryFile()  # closed on leaving
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("BENCH_")},
                "PYTHONPATH": str(CHECKOUT),
                "PYTHONUNBUFFERED": "1",
                **self._variables,
            },
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._output.close()

    @property
    def pids(self) -> set[int]:
        return {process.pid for process in self._processes()}

    def wait(self, seconds: float) -> list[str]:
        """Return the lines it printed until its end, which must be a good one."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.last_line()
            raise ProgramFailedError(f"not done within {seconds:.0f} s, said: {said}") from None
        if code:
            raise ProgramFailedError(self._describe(code))
        return self._lines()

    def last_line(self) -> str:
        """What it said last, to explain why it got no further."""
        # The error of a task group ends in a frame of such characters.
        lines = [said for line in self._lines() if (said := line.strip(" \t|+-"))]
        return lines[-1][:300] if lines else "nothing"

    def check(self) -> None:
        """Raise ``ProgramFailedError`` if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise ProgramFailedError(self._describe(code))

    def cpu_seconds(self) -> float:
        """CPU time since its start, of its children too."""
        total = 0.0
        for process in self._processes():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += _read_cpu_clock(process.pid) or times.user + times.system
                total += times.children_user + times.children_system
        return total

    def resident(self) -> int:
        """Bytes of memory that the largest of its processes has."""
        sizes = [0]
        for process in self._processes():
            with suppress(psutil.Error):
                sizes.append(process.memory_info().rss)
        return max(sizes)

    def stop(self) -> None:
        """Ask it to end, and make it end after ten seconds, with all its children."""
        children = self._processes()[1:]  # those of a session of their own are in no group of ours
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its session is its own
        self._process.wait()
        for child in children:
            with suppress(psutil.Error):  # a process that has its id now is told from it
                child.kill()

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        return []

    def _lines(self) -> list[str]:
        self._output.seek(0)
        text: str = self._output.read().decode(errors="replace")
        return text.strip().splitlines()

    def _describe(self, code: int) -> str:
        program = " ".join(Path(word).name for word in self._command[:3])
        return f"{program} ended with {code}: {self.last_line()}"


def _read_cpu_clock(pid: int) -> float | None:
    """CPU time of a process in nanoseconds' steps, where the system has such clocks.

    What psutil reads has steps of 10 ms: as much as an idle worker uses in five seconds.
    """
    if sys.platform != "linux":
        return None
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) returns
    return None
