"""What is made again from a saved run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.render import main
from benchmarks.results import save
from tests.benchmarks.reports import make_figure, make_report


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    save(make_report(make_figure("drain-noop", "jobs_per_second", "ours", 60_000)), path)
    return path


def test_report_plots_and_pages_are_made_from_what_was_saved(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:drain-noop --><!-- /bench:drain-noop -->", encoding="utf-8")

    code = main([str(results), str(page), "--out", str(tmp_path / "out")])

    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "throughput.png"}
    assert "| **ours** | 60,000 |" in page.read_text(encoding="utf-8")
    assert "Goals: " in capsys.readouterr().out


def test_a_page_that_cannot_be_filled_fails_and_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:sleep --><!-- /bench:sleep -->", encoding="utf-8")

    assert main([str(results), str(page)]) == 1
    assert capsys.readouterr().err.startswith(f"{page}: <!-- bench:sleep --> has no figures")
    assert (tmp_path / "report.md").is_file()
