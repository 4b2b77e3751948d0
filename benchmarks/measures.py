"""The kinds of measures that goals are made of: each reads one number about ours from a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmarks.comparing import find_ratio, sort_best_first
from benchmarks.results import Figure, Report
from benchmarks.sides import Side
from benchmarks.wording import show_number, show_share, show_value

OURS = "ours"
Other = Literal["limit", "the best peer", "the best peer that delivers at least once"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A number, or ``None`` and the reason why there is none."""

    value: float | None
    shown: str


class Measure(Protocol):
    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading: ...


@dataclass(frozen=True, slots=True)
class Value:
    """The figure itself."""

    workload: str
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        figure = report.find(self.workload, self.metric, OURS)
        if figure is None:
            return _explain_missing(report, self.workload, self.metric)
        return Reading(figure.median, show_value(self.metric, figure.median))


@dataclass(frozen=True, slots=True)
class Bytes:
    """The figure in whole bytes: what is less is noise of the allocator."""

    workload: str
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        figure = report.find(self.workload, self.metric, OURS)
        if figure is None:
            return _explain_missing(report, self.workload, self.metric)
        whole = round(figure.median)
        return Reading(whole, show_value(self.metric, whole))


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over another side, round by round."""

    workload: str
    metric: str
    to: Other

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        figure = report.find(self.workload, self.metric, OURS)
        if figure is None:
            return _explain_missing(report, self.workload, self.metric)
        base = self._find_base(report, sides)
        if base is None:
            return Reading(None, f"{self.to} was not measured")
        ratio = find_ratio(figure, base)
        if ratio is None:
            return Reading(None, f"{base.side} measured zero")
        rounds = f"{show_number(ratio.lowest)} to {show_number(ratio.highest)}"
        return Reading(
            ratio.median,
            f"{show_number(ratio.median)} times {base.side} ({rounds}): "
            f"{show_value(self.metric, figure.median)} against "
            f"{show_value(self.metric, base.median)}",
        )

    def _find_base(self, report: Report, sides: Mapping[str, Side]) -> Figure | None:
        if self.to == "limit":
            return report.find(self.workload, self.metric, "limit")
        peers = [
            figure
            for figure in report.sides_of(self.workload, self.metric)
            if (side := sides.get(figure.side)) is not None
            and not side.baseline
            and (self.to == "the best peer" or side.delivery == "at least once")
        ]
        return sort_best_first(peers)[0] if peers else None


@dataclass(frozen=True, slots=True)
class Sum:
    """The same metric of several workloads together."""

    workloads: tuple[str, ...]
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        values = _find_medians(report, self.workloads, self.metric)
        if isinstance(values, Reading):
            return values
        parts = " + ".join(show_number(value) for value in values)
        return Reading(sum(values), f"{show_value(self.metric, sum(values))} ({parts})")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a workload costs more than another."""

    workload: str
    base: str
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        figure = report.find(self.workload, self.metric, OURS)
        if figure is None:
            return _explain_missing(report, self.workload, self.metric)
        base = report.find(self.base, self.metric, OURS)
        if base is None:
            return _explain_missing(report, self.base, self.metric)
        value = figure.median - base.median
        return Reading(
            value,
            f"{show_value(self.metric, value)} "
            f"({show_number(figure.median)} - {show_number(base.median)})",
        )


@dataclass(frozen=True, slots=True)
class Worst:
    """The highest of several workloads, or of all that have the metric."""

    workloads: tuple[str, ...]
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        figures: list[Figure] = []
        for workload in self.workloads:
            figure = report.find(workload, self.metric, OURS)
            if figure is None:
                return _explain_missing(report, workload, self.metric)
            figures.append(figure)
        if not self.workloads:
            figures = [f for f in report.figures if (f.metric, f.side) == (self.metric, OURS)]
        if not figures:
            return Reading(None, "no workload of this run measures it")
        worst = max(figures, key=lambda figure: figure.median)
        return Reading(worst.median, f"{show_value(self.metric, worst.median)} in {worst.workload}")


@dataclass(frozen=True, slots=True)
class Unevenness:
    """By how much the highest of several workloads exceeds the lowest, as a share of it."""

    workloads: tuple[str, ...]
    metric: str

    def read(self, report: Report, sides: Mapping[str, Side]) -> Reading:
        values = _find_medians(report, self.workloads, self.metric)
        if isinstance(values, Reading):
            return values
        if not min(values):
            return Reading(None, "one of them measured zero")
        share = max(values) / min(values) - 1
        parts = ", ".join(show_value(self.metric, value) for value in values)
        return Reading(share, f"{show_share(share)} ({parts})")


def _find_medians(report: Report, workloads: tuple[str, ...], metric: str) -> list[float] | Reading:
    """Ours in each workload, or why one is missing."""
    values: list[float] = []
    for workload in workloads:
        figure = report.find(workload, metric, OURS)
        if figure is None:
            return _explain_missing(report, workload, metric)
        values.append(figure.median)
    return values


def _explain_missing(report: Report, workload: str, metric: str) -> Reading:
    for failure in report.failures:
        if failure.side == OURS and failure.workload in (None, workload):
            return Reading(None, f"{workload} failed: {failure.reason}")
    return Reading(None, f"{metric} of {workload} is not part of this run")
