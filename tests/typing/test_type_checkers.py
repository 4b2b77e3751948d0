"""The promises about types, kept by both type checkers at their strictest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
RIGHT = FOLDER / "right_uses.py"
WRONG = FOLDER / "wrong_uses.py"
CONSUMERS = FOLDER / "consumers.py"

Errors = dict[tuple[str, int], str]
Check = Callable[[Path, Path], Errors]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


def check_with_mypy(path: Path, work: Path) -> Errors:
    """Return the errors in ``path`` by line."""
    output = run(
        "mypy",
        "--output=json",
        "--follow-imports=silent",
        f"--cache-dir={work / 'cache'}",
        str(path),
        str(CONSUMERS),
    )
    reports = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {
        (Path(report["file"]).name, report["line"]): report["message"]
        for report in reports
        if report["severity"] == "error"
    }


def check_with_pyright(path: Path, work: Path) -> Errors:
    """Return the errors in ``path`` by line."""
    config = work / "pyrightconfig.json"
    settings = {
        "include": [str(path), str(CONSUMERS)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    config.write_text(json.dumps(settings))
    output = run("pyright", "--outputjson", f"--pythonpath={sys.executable}", f"--project={config}")
    return {
        (Path(report["file"]).name, report["range"]["start"]["line"] + 1): report["message"]
        for report in json.loads(output)["generalDiagnostics"]
        if report["severity"] == "error"
    }


def count_refused(check: Check, wrong_uses: Path, folder: Path) -> int:
    """Assert that exactly the lines marked for it are refused; return how many these are."""
    # The file asks to be left alone, for whoever checks the whole repository.
    settings = ("# mypy: ", "# pyright: ")
    source = wrong_uses.read_text().splitlines()
    lines = ["" if line.startswith(settings) else line for line in source]
    copy = folder / "copied_uses.py"
    copy.write_text("\n".join(lines))
    refused = {
        (copy.name, number) for number, line in enumerate(lines, 1) if line.endswith("# refused")
    }
    assert set(check(copy, folder)) == refused
    return len(refused)


CHECKERS = [
    pytest.param(
        check,
        id=name,
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"),
        ],
    )
    for name, check in (("mypy", check_with_mypy), ("pyright", check_with_pyright))
]


@pytest.mark.parametrize("check", CHECKERS)
def test_right_uses_are_accepted_with_the_types_that_are_promised(
    check: Check, tmp_path: Path
) -> None:
    assert check(RIGHT, tmp_path) == {}


@pytest.mark.parametrize("check", CHECKERS)
def test_every_wrong_use_is_refused_and_nothing_else(check: Check, tmp_path: Path) -> None:
    assert count_refused(check, WRONG, tmp_path) > 20
