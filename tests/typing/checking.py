"""What the type checkers say of some files, all in one run: starting it is what takes time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]

#: By the name of the file and the line.
Errors = dict[tuple[str, int], str]
Check = Callable[[Sequence[Path], Path], Errors]


def check_with_mypy(paths: Sequence[Path], cache: Path) -> Errors:
    """Return the errors in these files."""
    files = [str(path) for path in paths]
    arguments = ("--output=json", "--follow-imports=silent", f"--cache-dir={cache}")
    output = _run("mypy", *arguments, *files)
    reports = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {
        (Path(report["file"]).name, report["line"]): report["message"]
        for report in reports
        if report["severity"] == "error"
    }


def check_with_pyright(paths: Sequence[Path], work: Path) -> Errors:
    """Return the errors in these files, which must be in ``work``: it ignores all others."""
    config = work / "pyrightconfig.json"
    settings = {
        "include": [path.name for path in paths],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    config.write_text(json.dumps(settings))
    arguments = ("--outputjson", f"--pythonpath={sys.executable}", f"--project={config}")
    answer = json.loads(_run("pyright", *arguments))
    assert answer["summary"]["filesAnalyzed"] == len(paths)
    return {
        (Path(report["file"]).name, report["range"]["start"]["line"] + 1): report["message"]
        for report in answer["generalDiagnostics"]
        if report["severity"] == "error"
    }


def copy_unsettled(path: Path, folder: Path) -> Path:
    """Copy a file without its wish to be left alone by who checks the whole repository."""
    settings = ("# mypy: ", "# pyright: ")
    lines = path.read_text().splitlines()
    copy = folder / path.name
    copy.write_text("\n".join("" if line.startswith(settings) else line for line in lines))
    return copy


def find_marked(path: Path) -> set[tuple[str, int]]:
    """Return the lines that are to be refused."""
    lines = path.read_text().splitlines()
    return {(path.name, number) for number, line in enumerate(lines, 1) if _is_marked(line)}


def _is_marked(line: str) -> bool:
    return line.endswith("# refused")


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout
