"""What the journal of the faults remembers."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from benchmarks.faults.journal import JOURNAL, LOG, Journal, keep_log, note


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    journal = Journal(tmp_path)
    for name, value in journal.variables.items():
        monkeypatch.setenv(name, value)
    return journal


def test_events_come_back_in_order_and_by_the_names_of_jobs(journal: Journal) -> None:
    note("started", "kill-0-1", "a")
    note("started", "stop-0-1", "b")
    note("finished", "kill-0-1", "a")

    first, second = journal.entries("started")

    assert (first.job, first.run, first.pid) == ("kill-0-1", "a", os.getpid())
    assert first.at <= second.at
    assert [entry.run for entry in journal.entries("started", "stop-")] == ["b"]
    assert [entry.run for entry in journal.entries("finished")] == ["a"]


def test_a_run_is_under_way_until_it_finishes(journal: Journal) -> None:
    note("started", "job", "first")
    note("started", "job", "second")
    note("finished", "job", "first")

    assert [entry.run for entry in journal.running("job")[os.getpid()]] == ["second"]


def test_a_line_that_is_half_written_is_not_read(journal: Journal) -> None:
    note("started", "job", "run")
    with Path(os.environ[JOURNAL]).open("a", encoding="utf-8") as file:
        file.write("finished job r")

    assert len(journal.entries("started")) == 1
    assert journal.entries("finished") == []


def test_what_is_logged_is_kept_with_its_level_and_time(journal: Journal) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        keep_log()
        logging.getLogger("a.library").info("Took %s.", "job")
        logging.getLogger("a.library").error("Lost %s.", "job")
    finally:
        root.handlers[:], root.level = handlers, level

    (line,) = journal.lines(level=logging.WARNING, since=0)
    assert (line.level, line.text, line.pid) == (logging.ERROR, "Lost job.", os.getpid())
    assert len(journal.lines(level=logging.INFO, since=0)) == 2
    assert journal.lines(level=logging.INFO, since=line.at + 1) == []
    assert Path(os.environ[LOG]).exists()
