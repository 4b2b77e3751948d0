"""The report of a run: a page of its own, a few lines to print, and parts of other pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.comparing import explain_busy, find_ratio
from benchmarks.goals import evaluate
from benchmarks.measures import OURS
from benchmarks.metrics import METRICS
from benchmarks.results import Report
from benchmarks.sections import SECTIONS, write_sections
from benchmarks.sides import Side, find_sides
from benchmarks.wording import show_number, show_value
from benchmarks.workloads import WORKLOADS

_MARKER = re.compile(r"<!-- (/?)bench:(\S+) -->")


class PageError(Exception):
    """A page has markers that cannot be filled."""


def write(report: Report, out: Path, sides: Mapping[str, Side] | None = None) -> None:
    """Write ``report.md`` into the directory ``out``, which is made if it is missing."""
    sections = write_sections(report, find_sides() if sides is None else sides)
    parts = [f"# Benchmark of {report.started:%Y-%m-%d}", sections["machine"]]
    if report.mode == "quick":
        parts.append("A quick run: only ratios of ours to the hand-written limit mean anything.")
    for title, name in (
        ("Goals", "goals"),
        ("Sides", "configurations"),
        ("Versions", "versions"),
        *((workload.title, workload.name) for workload in WORKLOADS.values()),
    ):
        if text := sections.get(name):
            parts += [f"## {title}", text]
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def summary(report: Report, sides: Mapping[str, Side] | None = None) -> str:
    """What a person at a terminal wants to know first."""
    lines: list[str] = []
    if busy := explain_busy(report.machine):
        lines.append(f"The machine was busy: {busy}. No winner is named.")
    for workload in WORKLOADS.values():
        metric = METRICS[workload.metrics[0]]
        ours = report.find(workload.name, metric.name, OURS)
        if ours is None:
            continue
        limit = report.find(workload.name, metric.name, "limit")
        ratio = find_ratio(ours, limit) if limit else None
        shown = f"{show_value(metric.name, ours.median)} {metric.label}"
        against = f"{show_number(ratio.median)} times the limit" if ratio else ""
        if report.mode == "quick":
            shown, against = against, ""
        lines.append(f"{workload.name:16} {shown:34} {against}".rstrip())
    for failure in report.failures:
        where = f" in {failure.workload}" if failure.workload else ""
        lines.append(f"{failure.side} failed{where}: {failure.reason}")
    outcomes = evaluate(report, find_sides() if sides is None else sides)
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("met", "missed", "not measured")
    }
    lines.append("Goals: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    lines += [
        f"  missed by {outcome.missed_by}: {outcome.goal.text} ({outcome.measured})"
        for outcome in outcomes
        if outcome.status == "missed"
    ]
    return "\n".join(lines)


def fill(page: Path, report: Report, sides: Mapping[str, Side] | None = None) -> None:
    """Renew what stands between ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->`` in a page.

    NAME is one of ``SECTIONS`` or a workload. Raises ``PageError``, and leaves the page as it is,
    if a marker has another name, no end, or no figures in this run.
    """
    sections = write_sections(report, find_sides() if sides is None else sides)
    text = page.read_text(encoding="utf-8")
    parts: list[str] = []
    position = 0
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(text):
        is_end, name = bool(marker[1]), marker[2]
        if opened is None and is_end:
            raise PageError(f"{page}: {marker[0]} ends what was not begun")
        if opened is None:
            if name not in sections:
                raise PageError(f"{page}: {marker[0]} {_explain_unknown(name)}")
            parts.append(text[position : marker.end()])
            opened = marker
        elif is_end and name == opened[2]:
            parts.append(f"\n{sections[name]}\n")
            position = marker.start()
            opened = None
        else:
            raise PageError(f"{page}: {opened[0]} is not closed before {marker[0]}")
    if opened is not None:
        raise PageError(f"{page}: {opened[0]} is not closed")
    page.write_text("".join(parts) + text[position:], encoding="utf-8")


def _explain_unknown(name: str) -> str:
    known = (*SECTIONS, *WORKLOADS)
    if name in known:
        return "has no figures in this run"
    return f"names nothing that can be filled; there are {', '.join(known)}"
