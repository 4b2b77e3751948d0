"""The plots of a run: PNG files beside its report."""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.canvas import (
    FAINT,
    INK,
    colour_of,
    draw_bars,
    name_rows,
    open_card,
    scale_axis,
    weight_of,
)
from benchmarks.comparing import explain_busy, sort_best_first
from benchmarks.measures import OURS
from benchmarks.results import Report
from benchmarks.sides import Side, find_sides
from benchmarks.wording import show_number

_BACKLOGS = (("backlog-1k", "1,000"), ("backlog-100k", "100,000"), ("backlog-1m", "1,000,000"))
_QUEUES = (("drain-noop", "1"), ("queues-10", "10"), ("queues-100", "100"))
_PUBLISHING = (
    ("publish-one", "one after another"),
    ("publish-callers", "100 callers"),
    ("publish-bulk", "in bulk"),
)


def draw(report: Report, out: Path, sides: Mapping[str, Side] | None = None) -> list[Path]:
    """Draw what the run has figures for into the directory ``out``; the files that were made."""
    out.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Report, Path, Mapping[str, str]], bool]] = {
        "throughput.png": _draw_throughput,
        "latency.png": _draw_latency,
        "growth.png": _draw_growth,
        "memory.png": _draw_memory,
        "publish.png": _draw_publish,
        "endpoint.png": _draw_endpoint,
    }
    names = _name_sides(find_sides() if sides is None else sides)
    return [out / name for name, plot in plots.items() if plot(report, out / name, names)]


def _name_sides(sides: Mapping[str, Side]) -> dict[str, str]:
    """The names a reader knows; with an asterisk where a job may be lost."""
    names = {
        name: f"{name}*" if side.delivery == "at most once" else name
        for name, side in sides.items()
    }
    return names | {
        OURS: "redispatcher",
        "ours-embedded": "redispatcher, embedded",
        "limit": "redis-py by hand",
    }


def _draw_throughput(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    title = "Jobs per second, one worker process"
    return _draw_one(
        report,
        path,
        names,
        title,
        "Jobs that do nothing; * may lose jobs",
        "drain-noop",
        "jobs_per_second",
    )


def _draw_memory(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    title = "Redis memory of a queued job, bytes"
    caption = "A message of 70 bytes; less is better"
    return _draw_one(report, path, names, title, caption, "memory", "queued_bytes")


def _draw_endpoint(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    title = "An endpoint that publishes a job per request"
    caption = "Requests/s, as a share of those of the same endpoint without publishing; 64 clients"
    return _draw_one(report, path, names, title, caption, "endpoint", "share_of_plain", unit="%")


def _draw_one(
    report: Report,
    path: Path,
    names: Mapping[str, str],
    title: str,
    caption: str,
    workload: str,
    metric: str,
    *,
    unit: str = "",
) -> bool:
    """One bar per side, the best on top."""
    bars = _list_bars(report, workload, metric)
    if not bars:
        return False
    with open_card(path, title, _caption(report, caption), rows=len(bars)) as (panel,):
        draw_bars(panel, bars, names, unit)
    return True


def _draw_publish(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    """A column per way to publish, each with its own scale; the rows are the same sides."""
    columns = [
        (label, dict(found))
        for workload, label in _PUBLISHING
        if (found := _list_bars(report, workload, "jobs_per_second"))
    ]
    if not columns:
        return False
    sides = list(dict.fromkeys(side for _, bars in columns for side in bars))
    caption = _caption(report, "Each column has a scale of its own; * may lose jobs")
    title = "Jobs published per second"
    with open_card(path, title, caption, rows=len(sides) + 1, panels=len(columns)) as panels:
        for panel, (label, bars) in zip(panels, columns, strict=True):
            draw_bars(panel, [(side, bars.get(side, 0.0)) for side in sides], names)
            panel.set_xlim(right=max(bars.values()) * 1.4 or 1)
            panel.set_title(label, size=10, color=FAINT, loc="left")
        for panel in panels[1:]:
            panel.set_yticklabels([])
    return True


def _draw_latency(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    """A line from p50 to p99 per side."""
    sides = [
        (usual.side, usual.median, worst.median)
        for usual in sort_best_first(report.sides_of("latency-idle", "p50"))
        if (worst := report.find("latency-idle", "p99", usual.side)) is not None
    ]
    if not sides:
        return False
    caption = _caption(report, "50 jobs a second on an idle worker; from p50 (dot) to p99 (ring)")
    title = "From publish to start, milliseconds"
    with open_card(path, title, caption, rows=len(sides) + 1) as (panel,):
        for row, (side, middle, high) in enumerate(sides):
            colour = colour_of(side)
            panel.plot([middle, high], [row, row], color=colour, linewidth=2.5, alpha=0.5, zorder=1)
            panel.scatter([middle], [row], color=colour, s=48, zorder=2)
            panel.scatter(
                [high], [row], facecolor="white", edgecolor=colour, s=48, linewidth=1.8, zorder=2
            )
            for value, distance, align in ((middle, -8, "right"), (high, 8, "left")):
                panel.annotate(
                    show_number(value),
                    (value, row),
                    xytext=(distance, 0),
                    textcoords="offset points",
                    va="center",
                    ha=align,
                    size=9,
                    color=INK,
                    weight=weight_of(side),
                )
        values = [value for _, middle, high in sides for value in (middle, high)]
        scale_axis(panel, "x", values)
        left, right = panel.get_xlim()
        panel.set_xlim(left * 0.75 if left > 0 else -0.08 * right, right * 1.1)
        name_rows(panel, [side for side, _, _ in sides], names)
    return True


def _draw_growth(report: Report, path: Path, names: Mapping[str, str]) -> bool:
    """Throughput over the backlog, and over the number of queues."""
    panels = [
        (label, axis, lines)
        for label, axis in (("jobs queued", _BACKLOGS), ("queues in one pool", _QUEUES))
        if (lines := _list_lines(report, axis))
    ]
    if not panels:
        return False
    caption = _caption(report, "Jobs that do nothing, one worker process")
    title = "Jobs per second as the work grows"
    with open_card(path, title, caption, rows=10, panels=len(panels)) as axes:
        shown = dict.fromkeys(side for _, _, lines in panels for side in lines)
        colours = {side: colour_of(side, number) for number, side in enumerate(shown)}
        for panel, (label, axis, lines) in zip(axes, panels, strict=True):
            _draw_lines(panel, axis, lines, names, colours)
            panel.set_xlabel(label, size=9.5, color=FAINT)
    return True


def _draw_lines(
    panel: Axes,
    axis: tuple[tuple[str, str], ...],
    lines: dict[str, list[tuple[int, float]]],
    names: Mapping[str, str],
    colours: Mapping[str, str],
) -> None:
    for side, points in lines.items():
        panel.plot(
            [position for position, _ in points],
            [value for _, value in points],
            color=colours[side],
            linewidth=2.8 if side == OURS else 1.8,
            marker="o",
            markersize=5,
            label=names.get(side, side),
        )
        if side == OURS:
            for position, value in points:
                panel.annotate(
                    show_number(value),
                    (position, value),
                    xytext=(0, -15),
                    textcoords="offset points",
                    ha="center",
                    size=9,
                    weight="bold",
                    color=INK,
                )
    scale_axis(panel, "y", [value for points in lines.values() for _, value in points])
    panel.set_xticks(range(len(axis)), [label for _, label in axis])
    panel.margins(x=0.12)
    panel.legend(
        frameon=False, fontsize=8.5, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0)
    )


def _list_lines(
    report: Report, axis: tuple[tuple[str, str], ...]
) -> dict[str, list[tuple[int, float]]]:
    """By side: its points, at least two of them. The best six are enough to read."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for position, (workload, _) in enumerate(axis):
        for figure in sort_best_first(report.sides_of(workload, "jobs_per_second")):
            lines.setdefault(figure.side, []).append((position, figure.median))
    return dict([line for line in lines.items() if len(line[1]) > 1][:6])


def _list_bars(report: Report, workload: str, metric: str) -> list[tuple[str, float]]:
    figures = sort_best_first(report.sides_of(workload, metric))
    return [(figure.side, figure.median) for figure in figures]


def _caption(report: Report, text: str) -> str:
    busy = " · the machine was busy" if explain_busy(report.machine) else ""
    return f"{text} · {report.started:%Y-%m-%d}{busy}"
