"""The pages about single features: their Python blocks are a test suite that passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    "batches.md",
    "cancelling.md",
    "database.md",
    "flows.md",
    "limits.md",
    "middleware.md",
    "pausing.md",
    "priorities.md",
    "queues.md",
    "schedules.md",
    "uniqueness.md",
]


def read_files(page: str) -> dict[str, str]:
    """Return the page's Python blocks by the name of the file that each begins with."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.M | re.S)
    assert text.count("```python") == len(blocks), "each Python block begins with its file's name"
    return dict(blocks)


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=PAGES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with every module of a page in it."""
    for name, text in read_files(request.param).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_page_is_a_test_suite_that_passes(project: Path) -> None:
    assert list(project.glob("test_*.py"))

    plugins = ("-p", "anyio", "-p", "redispatcher_fastapi.testing.plugin", "-p", "no:cacheprovider")
    run(project, "pytest", "-q", "-W", "error", *plugins)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what all pages import."""
    return tmp_path_factory.mktemp("mypy-cache")


@pytest.mark.slow
def test_the_modules_of_a_page_satisfy_mypy_strict(project: Path, cache: Path) -> None:
    modules = sorted(path.name for path in project.glob("*.py"))
    run(project, "mypy", "--strict", f"--cache-dir={cache}", *modules)
