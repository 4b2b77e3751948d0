"""What the page of a run of faults says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.faults.outcomes import Kill, Poison, Stop, Told
from benchmarks.faults.page import write_page
from benchmarks.faults.results import Outcomes, Report, load, save
from tests.benchmarks.reports import make_machine

PUBLISHED = Path(__file__).parents[2] / "docs" / "benchmarks"
KILL = Kill(
    rounds=2, jobs=32, held=16, lost=0, restarts=[5.0, 5.2, 7.5], extra_starts=1, finished_twice=0
)
STOP = Stop(
    rounds=2,
    held=16,
    taken_over=16,
    runs={"2": 15, "3": 1},
    zombies=16,
    early=9,
    accepted=4,
    kept=1,
    said_after={"running": 16},
    said_finally={"succeeded": 16},
    lost=0,
    told_by_zombie=Told(3, "refused"),
    told_by_others=Told(0),
)
POISON = Poison(
    seconds=60.0,
    starts=5,
    last_start=22.4,
    given_up=True,
    word="dead",
    innocents=80,
    unfinished=0,
    failed=0,
    extra_starts=3,
    processes=7,
)


def make_report(**outcomes: Outcomes) -> Report:
    return Report(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), 600.0, 3, make_machine(), outcomes)


def test_each_fault_has_a_row_for_each_library() -> None:
    page = write_page(make_report(ours=Outcomes({"redis": "7"}, KILL, STOP, POISON)))

    assert (
        "| **ours** | 16 in 2 kills | 0 of 32 | 5.2 s | 7.5 s | 5 s | 1.50 | 30 s | 1 | 0 |" in page
    )
    assert (
        "| **ours** | 16 in 2 stops | 16 | 16, 9 before the other | 4 of 16 | 1 "
        "| 2 for 15 jobs, 3 for 1 job | 0 | 3 | 0 |" in page
    )
    assert "| **ours** | the frozen worker: “refused” |" in page
    assert "| **ours** | 5 | 22 s | yes, dead | 0 of 80 | 0 | 3 | 7 | 60 s |" in page
    assert "| **ours** | redis 7 | `lease` 5 s (default 30 s) |" in page


def test_a_library_that_failed_is_said_to_have_and_hides_nobody() -> None:
    broken = Outcomes({}, failures={"kill": "cannot be installed: no such release"})
    page = write_page(make_report(ours=Outcomes({}, KILL), docket=broken))

    assert "| docket | **failed: cannot be installed: no such release** |" in page
    assert "| **ours** | 16 in 2 kills |" in page
    assert "docket | nothing" not in page


def test_a_job_that_never_came_back_has_no_time() -> None:
    kill = Kill(rounds=1, jobs=16, held=8, lost=8, restarts=[], extra_starts=0, finished_twice=0)

    page = write_page(make_report(saq=Outcomes({}, kill)))

    assert "| saq | 8 in 1 kills | 8 of 16 | never | never | 6 s |  | not at all | 0 | 0 |" in page


def test_a_report_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    report = make_report(ours=Outcomes({"redis": "7"}, KILL, STOP, POISON, {"stop": "ended"}))

    save(report, tmp_path / "faults.json")

    assert load(tmp_path / "faults.json") == report


def test_the_published_page_is_that_of_the_published_figures() -> None:
    page = (PUBLISHED / "faults.md").read_text(encoding="utf-8")

    assert page == write_page(load(PUBLISHED / "faults.json"))
