"""``redispatcher`` in a process of its own, which only the test that started it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tests.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]
SERVICE = "tests.cli.service:app"

_PATIENCE = timedelta(seconds=30)


class Program:
    """One run of the command line; entering it starts it, leaving it ends it if it still runs."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        dsn: str | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        if dsn is not None:
            self._environment["REDISPATCHER_REDIS_DSN"] = dsn
        self._cwd = cwd
        self._log = folder / "program.log"
        self._output = folder / "program.out"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything on standard error until now."""
        return self._log.read_text(encoding="utf-8")

    @property
    def output(self) -> str:
        """Everything on standard output until now."""
        return self._output.read_text(encoding="utf-8")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The complete log lines, each of which must be a JSON object."""
        complete, _, _ = self.log.rpartition("\n")
        return [cast("dict[str, Any]", json.loads(line)) for line in complete.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines about one kind of event."""
        return [record for record in self.records if record.get("event") == name]

    def wait_for(self, text: str) -> None:
        """Return once ``text`` is in the log or in the output."""
        try:
            wait_until_blocking(lambda: text in self.log or text in self.output, timeout=_PATIENCE)
        except AssertionError:
            raise AssertionError(f"{text!r} did not appear in:\n{self.log}") from None

    def wait_for_events(self, name: str, *, count: int) -> list[dict[str, Any]]:
        """Return the log lines about one kind of event once there are so many."""
        wait_until_blocking(lambda: len(self.events(name)) >= count, timeout=_PATIENCE)
        return self.events(name)

    def wait_until_ready(self) -> None:
        """Return once the pool is about to run."""
        self.wait_for('"event": "pool.slots"')

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to this process alone."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code once it has ended."""
        assert self._process is not None
        return self._process.wait(_PATIENCE.total_seconds())

    def __enter__(self) -> Self:
        with self._log.open("wb") as log, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "redispatcher_fastapi", *self._arguments],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        # A parent that is killed takes its children along: their pipe ends.
        self._process.kill()
        self._process.wait()
        if error is not None:
            error.add_note(f"The program logged:\n{self.log}")
