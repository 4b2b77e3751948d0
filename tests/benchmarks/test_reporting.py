"""What a report says, and how pages are filled from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reporting import PageError, fill, summary, write
from benchmarks.results import Failure, Omission, Report
from tests.benchmarks.reports import SIDES, make_figure, make_machine, make_report

DRAIN = (
    make_figure("drain-noop", "jobs_per_second", "limit", 80_000, 100_000),
    make_figure("drain-noop", "jobs_per_second", "ours", 60_000, 60_000),
    make_figure("drain-noop", "jobs_per_second", "steady", 3_000, 3_000, detail="by streams"),
    make_figure("drain-noop", "cpu", "ours", 12.34),
)


def read_report(report: Report, out: Path) -> str:
    write(report, out, SIDES)
    return (out / "report.md").read_text(encoding="utf-8")


def test_a_table_shows_each_side_the_best_first(tmp_path: Path) -> None:
    text = read_report(make_report(*DRAIN), tmp_path / "new" / "report")

    assert (
        "## Run jobs that do nothing\n\n"
        "jobs/s: higher is better. Best: **ours**: 20.0 times as good as steady.\n\n"
        "| side | jobs/s | spread | ratio to ours | CPU per job, all processes of the side"
        " | CPU of Redis per job | requests to Redis per job | note |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
        "| limit | 90,000 | ± 11 % | 1.50 |  |  |  |  |\n"
        "| **ours** | 60,000 | ± 0.0 % | 1.00 | 12.3 µs |  |  |  |\n"
        "| steady | 3,000 | ± 0.0 % | 0.0500 |  |  |  | by streams |\n"
    ) in text


def test_a_report_names_machine_versions_and_configurations(tmp_path: Path) -> None:
    report = make_report(*DRAIN, versions={"steady": {"steady": "1.2", "redis": "7.0"}})

    text = read_report(report, tmp_path)

    assert text.startswith("# Benchmark of 2026-01-02\n\n* Date: 2026-01-02 03:04 UTC\n")
    assert "* Processor: A processor, 2 cores\n* Memory: 8.0 GB\n* System: A system\n" in text
    assert "| steady | steady 1.2, redis 7.0 |" in text
    assert "| steady | at least once | steady as documented |" in text
    assert "careless" not in text
    assert "busy" not in text


def test_a_busy_machine_is_said_to_be_and_names_no_winner(tmp_path: Path) -> None:
    report = make_report(*DRAIN, machine=make_machine(busy=(0.3, 0.5)))

    text = read_report(report, tmp_path)

    assert "**The machine was busy: other programs used 40 % of the cores during the run." in text
    assert "Best:" not in text
    assert "No winner: other programs used 40 % of the cores during the run." in text
    assert summary(report, SIDES).startswith("The machine was busy: other programs used 40 %")


def test_a_side_that_failed_or_takes_no_part_stands_in_the_table_with_the_reason(
    tmp_path: Path,
) -> None:
    report = make_report(
        *DRAIN,
        failures=(
            Failure(side="careless", workload=None, reason="pip said no"),
            Failure(side="steady", workload="drain-noop", reason="crashed in round 3"),
        ),
        omissions=(Omission(side="steady", workload="drain-depends", reason="no injection"),),
    )

    text = read_report(report, tmp_path)

    assert "| careless |  |  |  |  |  |  | **failed**: pip said no |" in text
    assert "| by streams; **failed**: crashed in round 3 |" in text
    assert "| steady |  |  |  |  |  |  | takes no part: no injection |" in text
    assert "**failed: pip said no** (careless as documented)" in text
    assert "careless failed: pip said no" in summary(report, SIDES)
    assert "steady failed in drain-noop: crashed in round 3" in summary(report, SIDES)


def test_a_side_that_could_not_be_installed_is_missed_only_where_it_would_have_been(
    tmp_path: Path,
) -> None:
    broken = Failure(side="careless", workload=None, reason="pip said no")

    text = read_report(make_report(mode="default", failures=(broken,)), tmp_path)

    assert "## Run jobs that do nothing" in text
    assert "## A backlog of 1,000 jobs" not in text


def test_goals_are_listed_with_what_they_were_missed_by(tmp_path: Path) -> None:
    report = make_report(
        *DRAIN,
        make_figure("delayed", "late_p99", "ours", 30),
        make_figure("idle-1", "idle_cpu", "ours", 0.1),
    )

    text = read_report(report, tmp_path)

    assert "| CPU of the worker for a no-op job: at most 25 µs | met | 12.3 µs |" in text
    assert "at most 20 ms late at p99 | **missed** by 50 % | 30.0 ms |" in text
    assert "**not measured** | idle_cpu of idle-50 is not part of this run |" in text


def test_a_quick_report_has_only_ratios(tmp_path: Path) -> None:
    report = make_report(*DRAIN, mode="quick")

    text = read_report(report, tmp_path)

    assert "| jobs/s (higher is better) | 0.675 | 0.600 to 0.750 |" in text
    assert "60,000 |" not in text
    assert "**not measured**" not in text
    assert "drain-noop       0.675 times the limit" in summary(report, SIDES)


def test_a_quick_report_shows_what_failed(tmp_path: Path) -> None:
    failure = Failure(side="limit", workload="publish-one", reason="no answer")

    text = read_report(make_report(*DRAIN, mode="quick", failures=(failure,)), tmp_path)

    assert "## Publish one job after another\n\nlimit failed: no answer" in text


def test_a_summary_counts_the_goals_and_names_the_missed_ones() -> None:
    report = make_report(*DRAIN, make_figure("delayed", "late_p99", "ours", 30))

    lines = summary(report, SIDES).splitlines()

    assert lines[0].split() == ["drain-noop", "60,000", "jobs/s", "0.675", "times", "the", "limit"]
    assert lines[-2].startswith("Goals: 3 met, 1 missed, 19 not measured")
    assert (
        lines[-1]
        == "  missed by 50 %: A delayed job on an idle pool: at most 20 ms late at p99 (30.0 ms)"
    )


def test_the_parts_of_a_page_are_renewed_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- bench:versions -->\nold\n<!-- /bench:versions -->\nbetween\n"
        "<!-- bench:drain-noop --><!-- /bench:drain-noop -->\nafter\n",
        encoding="utf-8",
    )
    report = make_report(*DRAIN, versions={"steady": {"steady": "1.2"}})

    fill(page, report, SIDES)
    filled = page.read_text(encoding="utf-8")
    fill(page, report, SIDES)

    assert filled.startswith("before\n<!-- bench:versions -->\n| side | versions |\n")
    assert "| steady | steady 1.2 |\n<!-- /bench:versions -->\nbetween\n<!-- bench:drain" in filled
    assert filled.endswith("| by streams |\n<!-- /bench:drain-noop -->\nafter\n")
    assert "old" not in filled
    assert page.read_text(encoding="utf-8") == filled


def test_the_headline_compares_with_the_best_peer_that_loses_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:headline --><!-- /bench:headline -->", encoding="utf-8")
    careless = make_figure("drain-noop", "jobs_per_second", "careless", 9_000, 9_000)

    fill(page, make_report(*DRAIN, careless), SIDES)

    assert page.read_text(encoding="utf-8").splitlines()[1] == (
        "One worker process runs 60,000 no-op jobs a second, 20.0 times as many as steady, the "
        "fastest peer that delivers at least once, on 2 cores of A processor."
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "<!-- bench:nonsense --><!-- /bench:nonsense -->",
            "<!-- bench:nonsense --> names nothing",
        ),
        ("<!-- bench:goals -->", "<!-- bench:goals --> is not closed"),
        (
            "<!-- bench:goals --><!-- bench:machine --><!-- /bench:machine -->",
            "<!-- bench:goals --> is not closed before <!-- bench:machine -->",
        ),
        (
            "<!-- bench:goals --><!-- bench:goals --><!-- /bench:goals -->",
            "<!-- bench:goals --> is not closed before <!-- bench:goals -->",
        ),
        (
            "<!-- bench:goals --><!-- /bench:machine -->",
            "<!-- bench:goals --> is not closed before <!-- /bench:machine -->",
        ),
        ("<!-- /bench:goals -->", "<!-- /bench:goals --> ends what was not begun"),
        (
            "<!-- bench:sleep --><!-- /bench:sleep -->",
            "<!-- bench:sleep --> has no figures in this run",
        ),
        (
            "<!-- bench:headline --><!-- /bench:headline -->",
            "<!-- bench:headline --> has no figures in this run",
        ),
    ],
)
def test_a_page_with_a_wrong_marker_stays_as_it_is(
    tmp_path: Path, text: str, complaint: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")

    with pytest.raises(PageError) as caught:
        fill(page, make_report(*DRAIN, machine=make_machine(busy=(0.5,))), SIDES)

    assert f"{page}: {complaint}" in str(caught.value)
    assert page.read_text(encoding="utf-8") == text
