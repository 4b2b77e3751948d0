"""SECURITY.md names tests that exist, at least one for each threat."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TESTS: list[tuple[str, str]] = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
SECTION = PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0]
ROWS = [line for line in SECTION.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))

    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names
    assert name.startswith("test_")


def test_every_threat_has_its_answer_and_a_test() -> None:
    assert len(ROWS) >= 20
    for row in ROWS:
        threat, answer, tests = row.strip("| ").split(" | ")
        assert threat
        assert answer
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`(, `tests/[\w/]+\.py::test_\w+`)*", tests)


def test_every_file_of_security_tests_is_named() -> None:
    files = {f"tests/security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}

    assert files - {path for path, _ in TESTS} == {"tests/security/test_security_page.py"}


def test_the_page_says_how_to_report_and_what_is_supported() -> None:
    assert "\n## Reporting a vulnerability\n" in PAGE
    assert "\n## Supported versions\n" in PAGE
