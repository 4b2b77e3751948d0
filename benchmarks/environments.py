"""An environment per side, with the newest releases of what it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from benchmarks.sides import Side

CHECKOUT = Path(__file__).parents[1]
_INSTALL_SECONDS = 300
_ASK_FOR_VERSIONS = (
    "import json, sys; from importlib.metadata import version, PackageNotFoundError\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = version(name)\n"
    "    except PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


class EnvironmentFailedError(Exception):
    """Raised when a side cannot be installed; the text is the last line that the installer said."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is there."""

    folder: Path

    @classmethod
    def of_harness(cls) -> Environment:
        """The one this runs in, where this checkout is installed."""
        return cls(Path(sys.prefix))

    @property
    def python(self) -> str:
        return self.command("python")

    def command(self, name: str) -> str:
        """The path of a program in it."""
        return str(self.folder / "bin" / name)

    def read_versions(self, names: tuple[str, ...]) -> dict[str, str]:
        """The versions of those distributions that it has."""
        answer = subprocess.run(
            [self.python, "-c", _ASK_FOR_VERSIONS, *names],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        versions: dict[str, str] = json.loads(answer.stdout)
        return versions


class Environments:
    """Makes environments, and keeps them between runs: ``BENCH_ENVIRONMENTS`` says where."""

    def __init__(self, *, is_fresh: bool = False) -> None:
        """With ``is_fresh``, install again what there is."""
        default = CHECKOUT / "benchmarks" / ".environments"
        self._folder = Path(os.environ.get("BENCH_ENVIRONMENTS", default)).absolute()
        self._is_fresh = is_fresh

    def find(self, side: Side) -> Environment:
        """Return the environment of a side, which may take a minute to make.

        A baseline has that of the harness.

        Raises:
            EnvironmentFailedError: it could not be made.
        """
        if side.baseline:
            return Environment.of_harness()
        wanted = "\n".join((sys.version, *sorted(side.requirements)))
        name = f"{side.program}-{sha256(wanted.encode()).hexdigest()[:8]}"
        folder = self._folder / name
        done = folder / ".installed"
        if self._is_fresh or not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run([*install, "--disable-pip-version-check", *side.requirements])
            done.touch()
        return Environment(folder)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailedError(f"not installed within {_INSTALL_SECONDS} s") from None
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
        raise EnvironmentFailedError(f"cannot be installed: {lines[-1]}")
