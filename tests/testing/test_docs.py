"""What docs/testing.md shows is a test suite that passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"


def read_files() -> dict[str, str]:
    """Return the page's Python blocks by the file name that each begins with."""
    blocks = re.findall(
        r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S
    )
    return dict(blocks)


def test_the_testing_page_is_a_test_suite_that_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = read_files()
    for name, text in files.items():
        (pytester.path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    result = pytester.runpytest_subprocess(
        *("-W", "error", "-p", "anyio", "-p", "redispatcher_fastapi.testing.plugin")
    )

    tests = sum(text.count("def test_") for text in files.values())
    assert len(files) == 9
    result.assert_outcomes(passed=tests + 1)  # one is parametrized with two values


def test_every_python_block_of_the_page_is_a_file() -> None:
    assert PAGE.read_text("utf-8").count("```python") == len(read_files())
