"""The pages about single features: their Python blocks are a test suite that passes.

All pages together are one run of pytest and one of mypy, as starting these is what takes time. The
modules of different pages have the same names, so each gets its page's name in front.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Without a cache, on a busy machine.
pytestmark = pytest.mark.timeout(400)
# These have tests of their own: test_readme.py, test_docs_guarantees.py, testing/test_docs.py.
OTHERS = {"reference.md", "guarantees.md", "testing.md"}
FEATURES = sorted(
    path.name
    for path in DOCS.glob("*.md")
    if path.name not in OTHERS and "```python" in path.read_text(encoding="utf-8")
)


def read_modules(page: Path) -> dict[str, str]:
    """Return the page's Python blocks by the name of the file that each begins with."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```$", text, re.M | re.S)
    assert text.count("```python") == len(blocks), "each Python block begins with its file's name"
    return dict(blocks)


def rename_modules(page: Path) -> dict[str, str]:
    """Return the modules under names that no other page has, and importing each other by these."""
    prefix = page.stem.replace("-", "_").lower()
    modules = read_modules(page)
    names = "|".join(map(re.escape, modules))
    renamed: dict[str, str] = {}
    for name, text in modules.items():
        text = re.sub(rf"^from ({names}) import ", rf"from {prefix}_\1 import ", text, flags=re.M)
        text = re.sub(rf"^import ({names})$", rf"import {prefix}_\1 as \1", text, flags=re.M)
        is_test = name.startswith("test_")
        renamed[f"test_{prefix}_{name[5:]}" if is_test else f"{prefix}_{name}"] = text
    return renamed


def write_modules(folder: Path, pages: list[Path]) -> None:
    for page in pages:
        for name, text in rename_modules(page).items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")


def run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", FEATURES)
def test_a_page_shows_something_and_tests_it(page: str) -> None:
    modules = read_modules(DOCS / page)

    assert any(name.startswith("test_") for name in modules)
    assert any(not name.startswith("test_") for name in modules)


@pytest.mark.parametrize("page", FEATURES)
def test_a_page_is_found_from_readme_and_reference(page: str) -> None:
    assert f"](docs/{page}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"]({page}" in (DOCS / "reference.md").read_text(encoding="utf-8")


def test_the_pages_are_a_test_suite_that_passes(tmp_path: Path) -> None:
    write_modules(tmp_path, [DOCS / page for page in FEATURES])

    plugins = ("-p", "anyio", "-p", "redispatcher_fastapi.testing.plugin", "-p", "no:cacheprovider")
    output = run(
        tmp_path,
        *("pytest", "-v", "-W", "error", *plugins),
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        PYTEST_ADDOPTS="",
    )

    ran = set(re.findall(r"^(\S+\.py)::\S+ PASSED", output, re.M))
    assert ran == {path.name for path in tmp_path.glob("test_*.py")}


@pytest.mark.slow
def test_the_modules_of_readme_and_pages_satisfy_mypy_strict(
    tmp_path: Path, mypy_cache: Path
) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    write_modules(folder, [ROOT / "README.md", *(DOCS / page for page in [*FEATURES, *OTHERS])])

    modules = sorted(path.name for path in folder.glob("*.py"))
    # As in tests/typing, whose cache it is.
    arguments = (f"--config-file={ROOT / 'pyproject.toml'}", "--follow-imports=silent")
    run(folder, "mypy", *arguments, f"--cache-dir={mypy_cache}", *modules)
