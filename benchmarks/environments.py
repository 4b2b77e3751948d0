"""An environment per set of requirements, with the newest releases of what it needs."""

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
OWN = "redispatcher-fastapi"
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
        self._made: dict[Path, Environment | EnvironmentFailedError] = {}

    def find(self, side: Side) -> Environment:
        """Return the environment of a side, which may take a minute to make.

        Sides with the same requirements share one, so they have the same releases of them.

        Raises:
            EnvironmentFailedError: it could not be made.
        """
        wanted = "\n".join(sorted(side.requirements))
        digest = sha256(wanted.encode()).hexdigest()[:8]
        folder = self._folder / f"{_name_of(side.requirements[0])}-{digest}"
        if folder not in self._made:
            try:
                self._made[folder] = self._make(folder, side.requirements)
            except EnvironmentFailedError as error:
                self._made[folder] = error
        made = self._made[folder]
        if isinstance(made, EnvironmentFailedError):
            raise made
        return made

    def _make(self, folder: Path, requirements: tuple[str, ...]) -> Environment:
        environment, done = Environment(folder), folder / ".installed"
        stamp = _stamp(requirements)
        if not self._is_fresh and done.exists() and done.read_text(encoding="utf-8") == stamp:
            return environment
        shutil.rmtree(folder, ignore_errors=True)
        words = [word for each in requirements for word in _words_of(each)]
        if uv := shutil.which("uv"):
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
            _run([uv, "pip", "install", "--quiet", "--python", environment.python, *words])
        else:
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [environment.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "install", *words])
        done.write_text(stamp, encoding="utf-8")
        return environment


def _name_of(requirement: str) -> str:
    return requirement.partition("[")[0]


def _words_of(requirement: str) -> tuple[str, ...]:
    """What pip is told: this library is taken from the checkout, as it is."""
    if _name_of(requirement) == OWN:
        return "--editable", str(CHECKOUT) + requirement.removeprefix(OWN)
    return (requirement,)


def _stamp(requirements: tuple[str, ...]) -> str:
    """What an environment has to be made anew for: another Python, other needs of our own."""
    own = any(_name_of(requirement) == OWN for requirement in requirements)
    project = (CHECKOUT / "pyproject.toml").read_bytes() if own else b""
    return f"{sys.version}\n{CHECKOUT if own else ''}\n{sha256(project).hexdigest()}\n"


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
