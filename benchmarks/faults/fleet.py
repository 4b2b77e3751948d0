"""Worker processes that are started again whenever they end, as a supervisor does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

from benchmarks.processes import ProgramFailedError, Running

SIZE = 2
_PAUSE = 0.05
_STARTS = 100


class Fleet:
    """Two workers, from entering to leaving."""

    def __init__(
        self, command: list[str], *, variables: Mapping[str, str], starts: int = _STARTS
    ) -> None:
        """``starts`` is how often each worker may start before it is given up."""
        self._command = command
        self._starts = starts
        self._variables = variables
        self._closing = Event()
        self._threads = [Thread(target=self._supervise) for _ in range(SIZE)]
        self._said = ""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise ``ProgramFailedError`` if workers end again and again."""
        if not any(thread.is_alive() for thread in self._threads):
            raise ProgramFailedError(f"its workers do not keep running: {self._said}")

    def _supervise(self) -> None:
        for _ in range(self._starts):
            with Running(self._command, variables=self._variables) as running:
                while not self._closing.is_set():
                    time.sleep(_PAUSE)
                    try:
                        running.check()
                    except ProgramFailedError as error:
                        self._said = str(error)
                        break
                else:
                    return


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process of a fleet, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
