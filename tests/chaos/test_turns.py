"""What the judge of the chaos suite takes for two runs at once, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.journal import Journal
from tests.chaos.traffic import Published
from tests.chaos.turns import Turns

JOBS = {name: Published("limited", "visit", 0.0, "host name") for name in ("a", "b")}


def find(folder: Path, *lines: str, deaths: dict[int, float] | None = None) -> list[str]:
    """Return the overlaps of runs; each line is an event, a job, a run, a process and a time."""
    path = folder / "journal"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    results = {"a": "a2", "b": "b1"}
    return list(Turns(JOBS, Journal(path), deaths or {}, results).find_overlaps())


def test_runs_of_two_jobs_at_once(tmp_path: Path) -> None:
    found = find(
        tmp_path, "started a a2 1 1", "finished a a2 1 5", "started b b1 2 4", "finished b b1 2 6"
    )

    assert len(found) == 1


@pytest.mark.parametrize(("begun", "expected"), [(4.0, 1), (5.0, 0)])
def test_a_run_lasts_until_the_death_of_its_process(
    tmp_path: Path, begun: float, expected: int
) -> None:
    lines = ["started a a1 1 1", f"started b b1 2 {begun}", "finished b b1 2 6"]
    again = ["started a a2 2 7", "finished a a2 2 8"]

    assert len(find(tmp_path, *lines, *again, deaths={1: 5.0})) == expected


@pytest.mark.parametrize(("lines", "expected"), [([], 1), (["interrupted a a1 1 4"], 0)])
def test_a_run_that_its_process_interrupted_was_over_before_its_death(
    tmp_path: Path, lines: list[str], expected: int
) -> None:
    lines = ["started a a1 1 1", *lines, "started a a2 2 5", "finished a a2 2 6"]

    assert len(find(tmp_path, *lines, deaths={1: 20.0})) == expected


def test_a_run_that_was_refused_was_over_before_its_end(tmp_path: Path) -> None:
    lines = ["started a a1 1 1", "started a a2 2 5", "finished a a2 2 6", "finished a a1 1 9"]

    assert find(tmp_path, *lines) == []
