"""docs/guarantees.md names tests that exist, events that are told, and a recipe that works."""

from __future__ import annotations

import ast
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redispatcher_fastapi import JobContext
from tests.chaos.test_chaos import CONTROLS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
TESTS: list[tuple[str, str]] = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table of a section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert name in names


def test_every_promise_has_a_test() -> None:
    promises = rows("The promises")

    assert len(promises) >= 12
    for *_, tests in promises:
        assert "::test_" in tests


def test_every_event_of_the_matrix_is_one_that_is_told() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    events = set(re.findall(r"`((?:job|pool)\.\w+)`", PAGE))

    assert len(events) > 10
    assert events <= set(re.findall(r"^\| `((?:job|pool)\.\w+)` \|", reference, re.MULTILINE))


def test_every_control_is_in_the_table() -> None:
    assert len(rows("The suite must fail without its protections")) == len(CONTROLS) + 1


def test_the_recipe_does_its_work_once_however_often_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("accounts.db")) as database, database:
        database.execute("CREATE TABLE done (job_id TEXT PRIMARY KEY)")
        database.execute("CREATE TABLE accounts (name TEXT, credit INTEGER)")
        database.execute("INSERT INTO accounts VALUES ('ada', 1)")
    (source,) = re.findall(r"^```python\n# once\.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "once"}
    exec(source, names)  # the page's own code
    consumer = names["AddCredit"]
    message = consumer.Message(account="ada", amount=5)
    context = JobContext(
        id="one", queue="add-credit", attempt=1, headers=None, published_at=datetime.now(UTC)
    )

    consumer().process_message(message, context)
    consumer().process_message(message, context)

    with closing(sqlite3.connect("accounts.db")) as database:
        assert database.execute("SELECT credit FROM accounts").fetchone() == (6,)
