"""One measurement of one side: a fresh Redis, a record of its jobs, its producer, its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.environments import Environment
from benchmarks.processes import Produced, ProgramFailedError, Running, produce
from benchmarks.recorder import VARIABLE, Record
from benchmarks.servers import Server
from benchmarks.sides import Side

Times = npt.NDArray[np.float64]

_LOOK_SECONDS = 0.02
_START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds and requests at one moment, and how many jobs had started."""

    started: int
    workers: float
    redis: float
    reads: int


class Workers:
    """The worker processes of a side, while they run."""

    def __init__(self, running: Sequence[Running]) -> None:
        self._running = running

    @property
    def pids(self) -> set[int]:
        return {pid for running in self._running for pid in running.pids}

    def last_line(self) -> str:
        return self._running[0].last_line()

    def check(self) -> None:
        for running in self._running:
            running.check()

    def cpu_seconds(self) -> float:
        return sum(running.cpu_seconds() for running in self._running)

    def resident(self) -> int:
        """Bytes of the largest process."""
        return max(running.resident() for running in self._running)


class Stage:
    """Entering it starts Redis; leaving it ends everything that was started on it."""

    def __init__(
        self,
        side: Side,
        environment: Environment,
        *,
        kind: str = "noop",
        jobs: int,
        slots: int = 100,
        queues: int = 1,
        **variables: str,
    ) -> None:
        """``jobs`` is the highest number of jobs; further variables go to all programs."""
        self.side = side
        self.environment = environment
        self.kind = kind
        self._slots = slots
        self._queues = queues
        self._jobs = jobs
        self._more = variables
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = stack.enter_context(Server())
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-record-")))
            record = Record(folder / "record", jobs=self._jobs)
            self.published: Times = np.asarray(record.published)
            self.started: Times = np.asarray(record.started)
            self.variables = {
                **self.side.environment,
                **self._more,
                "BENCH_REDIS_URL": self.server.url,
                "BENCH_KIND": self.kind,
                "BENCH_SLOTS": str(self._slots),
                "BENCH_QUEUES": str(self._queues),
                VARIABLE: str(folder / "record"),
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def produce(self, command: str, *, count: int, seconds: float = 60, **more: object) -> Produced:
        """Run the side's producer; its own time limit is what its pace makes likely, and more."""
        return produce(
            self.environment,
            self.side.program,
            command,
            variables=self.variables,
            seconds=30 + seconds + 5 * count / self.side.publish_pace,
            kind=self.kind,
            count=count,
            **more,
        )

    @contextmanager
    def workers(self, processes: int = 1) -> Generator[Workers]:
        """Run the side's workers for the length of a block.

        Raises:
            ProgramFailedError: one has ended before that: a dead worker costs nothing.
        """
        queues = ",".join(f"bench-{number}" for number in range(self._queues))
        fields: dict[str, Any] = {"processes": processes, "slots": self._slots, "queues": queues}
        first, *others = self.side.worker
        command = [self.environment.command(first), *(word.format(**fields) for word in others)]
        starts_them = any("{processes}" in word for word in self.side.worker)
        with ExitStack() as stack:
            workers = Workers(
                [
                    stack.enter_context(Running(command, variables=self.variables))
                    for _ in range(1 if starts_them else processes)
                ]
            )
            yield workers
            workers.check()

    def count_started(self) -> int:
        return int(np.count_nonzero(self.started))

    def wait_until_started(self, count: int, workers: Workers, *, seconds: float) -> None:
        """Wait for as many jobs.

        Raises:
            ProgramFailedError: a worker ended, or it took longer than ``seconds``.
        """
        self.wait_for(
            lambda: self.count_started() >= count,
            workers,
            seconds=seconds,
            what=lambda: f"{self.count_started()} of {count} jobs had run",
        )

    def wait_for(
        self,
        condition: Callable[[], bool],
        workers: Workers,
        *,
        seconds: float,
        what: Callable[[], str] = lambda: "it never came true",
    ) -> None:
        """Wait for a condition, looking now and then: a look costs the machine little."""
        deadline = time.monotonic() + seconds
        for look in numbers():
            if condition():
                return
            if look % 10 == 0:
                workers.check()
            if time.monotonic() > deadline:
                said = workers.last_line()
                raise ProgramFailedError(f"after {seconds:.0f} s {what()}; a worker said: {said}")
            time.sleep(_LOOK_SECONDS)

    def warm_up(self, workers: Workers, *, count: int = 20) -> None:
        """Let some jobs run, and forget that they did: then all connections are there."""
        self.produce("fill", count=count)
        self.wait_until_started(count, workers, seconds=_START_SECONDS)
        time.sleep(0.5)  # what a worker does after the last job
        self.started[:] = 0.0
        self.published[:] = 0.0

    def spent(self, workers: Workers) -> Spent:
        """What was spent until now."""
        return Spent(
            self.count_started(),
            workers.cpu_seconds(),
            self.server.cpu_seconds(),
            self.server.reads(),
        )
