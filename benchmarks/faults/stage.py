"""One library on its own Redis server: two workers, a publisher, and the journal of its jobs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

from benchmarks.environments import CHECKOUT, Environment
from benchmarks.faults.contenders import Contender
from benchmarks.faults.fleet import SIZE, Fleet
from benchmarks.faults.journal import Journal
from benchmarks.faults.serving import Answer
from benchmarks.processes import ProgramFailedError
from benchmarks.servers import Server

START_SECONDS = 60
_PAUSE = 0.02
_TRICKLE_SECONDS = 0.5


class Stage:
    """Everything of one library that is needed for one fault."""

    def __init__(self, contender: Contender, environment: Environment) -> None:
        self.contender = contender
        self._environment = environment
        self._resources = ExitStack()
        self._lock = Lock()
        self.ids: dict[str, str] = {}
        """What the library calls each job in its log."""

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            folder = resources.enter_context(TemporaryDirectory(prefix="bench-faults-"))
            self.journal = Journal(Path(folder))
            server = resources.enter_context(Server())
            variables = {**self.journal.variables, "BENCH_REDIS_URL": server.url}
            self._said = Path(folder) / "client"
            errors = resources.enter_context(self._said.open("wb"))
            self._client = resources.enter_context(
                subprocess.Popen(
                    [
                        self._environment.python,
                        "-m",
                        f"benchmarks.faults.programs.{self.contender.program}",
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=CHECKOUT,
                    env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables},
                    text=True,
                    start_new_session=True,
                )
            )
            resources.callback(self._client.kill)
            self._read()
            program, *arguments = self.contender.worker
            command = [self._environment.command(program), *arguments]
            self.fleet = resources.enter_context(Fleet(command, variables=variables))
            self.wait_for_workers()
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def publish(self, job: str, seconds: float, *, kills: bool = False) -> None:
        answer = self._call(kind="publish", job=job, seconds=seconds, kills=kills)
        self.ids[job] = answer["id"]

    def ask(self, job: str) -> Answer:
        """Return what the library says of a job."""
        return Answer(**self._call(kind="ask", job=job))

    def trickle(self) -> None:
        """Let small jobs arrive until the end: some libraries recover only while others come."""
        closing = Event()

        def publish() -> None:
            number = 0
            while not closing.wait(_TRICKLE_SECONDS):
                number += 1
                self.publish(f"trickle-{number}", 0.01)

        thread = Thread(target=publish)
        thread.start()
        self._resources.callback(thread.join)
        self._resources.callback(closing.set)

    def wait_for_workers(self) -> None:
        """Return when all workers that should be there have started."""
        if not self.wait(lambda: len(self.alive()) >= SIZE, START_SECONDS):
            self.fleet.check()
            raise ProgramFailedError(f"its workers did not start within {START_SECONDS} s")

    def alive(self) -> set[int]:
        """Return the workers that have started and not ended."""
        started = {entry.pid for entry in self.journal.entries("ready")}
        return {pid for pid in started if _is_there(pid)}

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Tell whether the condition came to hold in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def wait_until_finished(self, jobs: Iterable[str], prefix: str, seconds: float) -> bool:
        """Tell whether all those jobs finished in time."""
        wanted = set(jobs)
        return self.wait(
            lambda: wanted <= {entry.job for entry in self.journal.entries("finished", prefix)},
            seconds,
        )

    def _call(self, **question: object) -> dict[str, Any]:
        assert self._client.stdin is not None
        with self._lock:
            self._client.stdin.write(f"{json.dumps(question)}\n")
            self._client.stdin.flush()
            return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._client.stdout is not None
        line = self._client.stdout.readline()
        if not line:
            said = self._said.read_text(encoding="utf-8").strip().splitlines() or ["nothing"]
            raise ProgramFailedError(f"its publisher ended: {said[-1][:300]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _is_there(pid: int) -> bool:
    """Tell whether a process lives; one that has ended may be waited for still."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
