"""The parts of a report in Markdown, by name: of report.md, and of any page with their markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.comparing import explain_busy, find_ratio, find_winner, sort_best_first
from benchmarks.goals import evaluate
from benchmarks.measures import OURS
from benchmarks.metrics import METRICS
from benchmarks.results import Figure, Report
from benchmarks.sides import Side
from benchmarks.wording import (
    show_number,
    show_share,
    show_spread,
    show_value,
    write_table,
)
from benchmarks.workloads import WORKLOADS, Workload

GIGABYTE = 1024**3


SECTIONS = ("headline", "machine", "versions", "configurations", "goals")
"""The names of all but the workloads."""


def write_sections(report: Report, sides: Mapping[str, Side]) -> dict[str, str]:
    """Every part that this run has figures, failures or omissions for."""
    sections = {
        "headline": write_headline(report, sides),
        "machine": write_machine(report),
        "versions": write_versions(report),
        "configurations": write_configurations(report, sides),
        "goals": write_goals(report, sides),
    }
    for workload in WORKLOADS.values():
        sections[workload.name] = write_workload(workload, report, sides)
    return {name: text for name, text in sections.items() if text}


def write_headline(report: Report, sides: Mapping[str, Side]) -> str:
    """The sentence for the README; nothing if this run cannot tell a winner."""
    contenders = [
        figure
        for figure in report.sides_of("drain-noop", "jobs_per_second")
        if figure.side == OURS or _is_safe_peer(sides.get(figure.side))
    ]
    if find_winner(contenders, report.machine).side != OURS:
        return ""
    ours, best = sort_best_first(contenders)[:2]
    ratio = find_ratio(ours, best)
    times = f"{show_number(ratio.median)} times as many as" if ratio else "more than"
    return (
        f"One worker process runs {show_number(ours.median)} no-op jobs a second, {times} "
        f"{best.side}, the fastest peer that delivers at least once, "
        f"on {report.machine.cores} cores of {report.machine.processor}."
    )


def _is_safe_peer(side: Side | None) -> bool:
    return side is not None and not side.baseline and side.delivery == "at least once"


def write_machine(report: Report) -> str:
    machine = report.machine
    lines = [
        f"* Date: {report.started:%Y-%m-%d %H:%M} {report.started:%Z}".rstrip(),
        f"* Run: {report.mode}, {_show_duration(report.seconds)}",
        f"* Processor: {machine.processor}, {machine.cores} cores",
        f"* Memory: {machine.memory / GIGABYTE:.1f} GB",
        f"* System: {machine.system}",
        f"* {machine.python}, Redis {machine.redis}",
        f"* Load before the run: {machine.load_before:.2f}",
    ]
    if machine.busy:
        average = sum(machine.busy) / len(machine.busy)
        lines.append(
            f"* Used by other programs between the rounds: {show_share(average)} of the cores, "
            f"at most {show_share(max(machine.busy))}"
        )
    if busy := explain_busy(machine):
        lines.append(f"\n**The machine was busy: {busy}. No winner is named.**")
    return "\n".join(lines)


def write_versions(report: Report) -> str:
    rows = [
        (side, ", ".join(f"{name} {version}" for name, version in versions.items()))
        for side, versions in report.versions.items()
    ]
    return write_table(("side", "versions"), rows)


def write_configurations(report: Report, sides: Mapping[str, Side]) -> str:
    """How each side was configured, and who could not take part at all."""
    broken = {f.side: f.reason for f in report.failures if f.workload is None}
    rows: list[tuple[str, str, str]] = []
    for name in _list_sides(report, sides):
        side = sides.get(name)
        delivery, notes = (side.delivery, side.notes) if side else ("", "")
        if name in broken:
            notes = f"**failed: {broken[name]}** ({notes})" if notes else f"**{broken[name]}**"
        rows.append((_show_side(name), delivery, notes))
    return write_table(("side", "delivery", "configuration"), rows)


def write_goals(report: Report, sides: Mapping[str, Side]) -> str:
    """All goals; of a quick run, which measures a few of them, only those."""
    rows: list[tuple[str, str, str]] = []
    for outcome in evaluate(report, sides):
        if report.mode == "quick" and outcome.status == "not measured":
            continue
        status = "met" if outcome.status == "met" else f"**{outcome.status}**"
        if outcome.missed_by:
            status = f"**missed** by {outcome.missed_by}"
        rows.append((outcome.goal.text, status, outcome.measured))
    return write_table(("goal", "", "measured"), rows)


def write_workload(workload: Workload, report: Report, sides: Mapping[str, Side]) -> str:
    """The table of a workload and who won it; nothing if the run did not have it."""
    first = METRICS[workload.metrics[0]]
    figures = sort_best_first(report.sides_of(workload.name, first.name))
    notes = _find_absences(workload, report, sides)
    if report.mode == "quick":
        return _write_ratios(workload, report)
    if not figures and not notes:
        return ""
    contenders = [
        figure
        for figure in figures
        if figure.side == OURS or (figure.side in sides and not sides[figure.side].baseline)
    ]
    verdict = find_winner(contenders, report.machine)
    who = f"Best: **{verdict.side}**" if verdict.side else "No winner"
    direction = f"{first.label}: {first.better} is better. {who}: {verdict.reason}."
    return f"{direction}\n\n{_write_figures(workload, figures, notes, report)}"


def _write_figures(
    workload: Workload, figures: Sequence[Figure], notes: dict[str, str], report: Report
) -> str:
    """A row per side: those with figures, then those without, and why."""
    names = list(workload.metrics[1:])
    names += ["script_p99"] if report.sides_of(workload.name, "script_p99") else []
    ours = report.find(workload.name, workload.metrics[0], OURS)
    rows: list[tuple[str, ...]] = []
    for figure in figures:
        ratio = find_ratio(figure, ours) if ours else None
        others = [_show_cell(report.find(workload.name, name, figure.side)) for name in names]
        rows.append(
            (
                _show_side(figure.side),
                _show_cell(figure),
                show_spread(figure),
                show_number(ratio.median) if ratio else "",
                *others,
                "; ".join(filter(None, (figure.detail, notes.get(figure.side)))),
            )
        )
    shown = {figure.side for figure in figures}
    blank = [""] * (3 + len(names))
    rows += [(_show_side(side), *blank, notes[side]) for side in notes if side not in shown]
    head = [METRICS[workload.metrics[0]].label, "spread", "ratio to ours"]
    head = ["side", *head, *(METRICS[name].label for name in names), "note"]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return write_table(head, rows, numbers=3 + len(names))


def _write_ratios(workload: Workload, report: Report) -> str:
    """Ours over the limit: all that a quick run is good for."""
    rows: list[tuple[str, str, str]] = []
    for name in workload.metrics:
        ours = report.find(workload.name, name, OURS)
        limit = report.find(workload.name, name, "limit")
        ratio = find_ratio(ours, limit) if ours and limit else None
        if ratio:
            rounds = f"{show_number(ratio.lowest)} to {show_number(ratio.highest)}"
            label = f"{METRICS[name].label} ({METRICS[name].better} is better)"
            rows.append((label, show_number(ratio.median), rounds))
    lines = [write_table(("", "ours ÷ limit", "rounds"), rows, numbers=2)] if rows else []
    lines += [
        f"{_show_side(failure.side)} failed: {failure.reason}"
        for failure in report.failures
        if failure.workload in (None, workload.name)
    ]
    return "\n\n".join(lines)


def _find_absences(workload: Workload, report: Report, sides: Mapping[str, Side]) -> dict[str, str]:
    """By side: why it has no figures here, or fewer."""
    notes: dict[str, str] = {}
    for omission in report.omissions:
        if omission.workload == workload.name:
            notes[omission.side] = f"takes no part: {omission.reason}"
    for failure in report.failures:
        side = sides.get(failure.side)
        takes_part = side is None or side.baseline or report.mode in workload.peers
        was_run = report.mode in workload.modes and takes_part
        if failure.workload == workload.name or (failure.workload is None and was_run):
            notes[failure.side] = f"**failed**: {failure.reason}"
    return notes


def _list_sides(report: Report, sides: Mapping[str, Side]) -> list[str]:
    """Those that were run or should have been: the baselines first."""
    known = {figure.side for figure in report.figures} | set(report.versions)
    known |= {failure.side for failure in report.failures}
    return [name for name in sides if name in known] + sorted(known - set(sides))


def _show_side(name: str) -> str:
    return f"**{name}**" if name == OURS else name


def _show_cell(figure: Figure | None) -> str:
    return show_value(figure.metric, figure.median) if figure else ""


def _show_duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
