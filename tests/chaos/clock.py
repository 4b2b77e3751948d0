"""Clocks that are wrong: of one process each, set while it runs."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The time of day of a process that is started with :attr:`environment`."""

    def __init__(self, library: Path, file: Path, *, seconds: float = 0.0) -> None:
        self._library = library
        self._file = file
        self._seconds = seconds
        self._file.write_bytes(struct.pack("d", seconds))

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes a process believe in this clock."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def step(self, seconds: float) -> None:
        """Set the clock, forwards or (less than zero) backwards."""
        self._seconds += seconds
        # In place, as the process has mapped the file.
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", self._seconds))


def build_library(folder: Path) -> Path:
    """Compile what has to be preloaded.

    Raises:
        RuntimeError: there is no C compiler.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler: install gcc (Debian: gcc libc6-dev)")
    library = folder / "clock.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE)], check=True
    )
    return library
