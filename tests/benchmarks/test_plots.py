"""Which plots appear, and what they look like from outside."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from benchmarks.plots import draw
from benchmarks.results import Figure
from tests.benchmarks.reports import SIDES, make_figure, make_report


def make_figures(workload: str, metric: str) -> list[Figure]:
    """Of all sides, from 90,000 down."""
    return [
        make_figure(workload, metric, side, 90_000 / 5**place) for place, side in enumerate(SIDES)
    ]


def test_a_run_with_everything_has_all_plots(tmp_path: Path) -> None:
    report = make_report(
        *make_figures("drain-noop", "jobs_per_second"),
        *make_figures("queues-10", "jobs_per_second"),
        *make_figures("backlog-1k", "jobs_per_second"),
        *make_figures("backlog-1m", "jobs_per_second"),
        *make_figures("latency-idle", "p50"),
        *make_figures("latency-idle", "p99"),
        *make_figures("memory", "queued_bytes"),
        *make_figures("publish-one", "jobs_per_second"),
        *make_figures("publish-bulk", "jobs_per_second"),
        *make_figures("endpoint", "share_of_plain"),
    )

    drawn = draw(report, tmp_path / "new" / "plots", SIDES)

    assert sorted(path.name for path in drawn) == [
        "endpoint.png",
        "growth.png",
        "latency.png",
        "memory.png",
        "publish.png",
        "throughput.png",
    ]
    for path in drawn:
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            assert image.width == 1600
            assert min(image.convert("RGBA").getchannel("A").getextrema()) == 0


def test_plots_without_figures_are_left_out(tmp_path: Path) -> None:
    report = make_report(
        *make_figures("memory", "queued_bytes"),
        *make_figures("latency-idle", "p50"),
        *make_figures("backlog-1k", "jobs_per_second"),
    )

    drawn = draw(report, tmp_path, SIDES)

    assert drawn == [tmp_path / "memory.png"]
    assert list(tmp_path.iterdir()) == drawn


def test_a_side_that_measured_zero_can_be_drawn(tmp_path: Path) -> None:
    report = make_report(
        make_figure("memory", "queued_bytes", "ours", 0),
        make_figure("latency-idle", "p50", "ours", 0),
        make_figure("latency-idle", "p99", "ours", 0),
    )

    assert len(draw(report, tmp_path, SIDES)) == 2


def test_a_side_that_is_no_longer_there_is_drawn_by_its_name(tmp_path: Path) -> None:
    report = make_report(
        make_figure("drain-noop", "jobs_per_second", "forgotten", 10),
        make_figure("queues-10", "jobs_per_second", "forgotten", 10),
    )

    drawn = draw(report, tmp_path, SIDES)

    assert drawn == [tmp_path / "throughput.png", tmp_path / "growth.png"]
