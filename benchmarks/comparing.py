"""Who is faster, and by how much: only where the figures can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.metrics import METRICS
from benchmarks.results import Figure, Machine
from benchmarks.wording import show_number, show_share

BUSY_SHARE = 0.10
"""Of all cores, on average over the run: what other programs may use."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure over another: the median, the lowest and the highest of the rounds."""

    median: float
    lowest: float
    highest: float

    @property
    def spread(self) -> float:
        return (self.highest - self.lowest) / self.median if self.median else 0.0


def find_ratio(figure: Figure, base: Figure) -> Ratio | None:
    """``figure`` over ``base``; ``None`` where ``base`` was zero.

    Sides are measured in turns, so what slows the machine down for a round slows both: figures with
    the same number of rounds are compared round by round.
    """
    if not all(base.values):
        return None
    if len(figure.values) == len(base.values):
        ratios = [value / other for value, other in zip(figure.values, base.values, strict=True)]
        return Ratio(median(ratios), min(ratios), max(ratios))
    return Ratio(
        figure.median / base.median,
        min(figure.values) / max(base.values),
        max(figure.values) / min(base.values),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who won, or ``None``, and why."""

    side: str | None
    reason: str


def find_winner(figures: Sequence[Figure], machine: Machine) -> Verdict:
    """The best of the figures of one metric, if it is better by more than the rounds differ."""
    if busy := explain_busy(machine):
        return Verdict(None, busy)
    if len(figures) < 2:
        return Verdict(None, "there is nobody to compare with")
    best, second = sort_best_first(figures)[:2]
    if len(best.values) < 2 or len(second.values) < 2:
        return Verdict(None, "one round does not show how far rounds differ")
    difference = abs(best.median - second.median)
    if max(_range_of(best), _range_of(second)) >= difference:
        return Verdict(
            None,
            f"{best.side} and {second.side} differ by {show_number(difference)}, their rounds by "
            f"up to {show_number(max(_range_of(best), _range_of(second)))}",
        )
    if METRICS[best.metric].better == "higher":
        ratio = find_ratio(best, second)
    else:
        ratio = find_ratio(second, best)
    if ratio is None:
        return Verdict(best.side, f"{second.side} is next")
    return Verdict(best.side, f"{show_number(ratio.median)} times as good as {second.side}")


def sort_best_first(figures: Sequence[Figure]) -> list[Figure]:
    """By median, in the direction that is better for their metric."""
    return sorted(
        figures,
        key=lambda figure: figure.median,
        reverse=bool(figures) and METRICS[figures[0].metric].better == "higher",
    )


def explain_busy(machine: Machine) -> str | None:
    """Why the figures of this machine cannot be trusted, or ``None`` if they can.

    What was seen between the rounds decides; the load before the run, only where nothing was.
    """
    if machine.busy:
        share = fmean(machine.busy)
        if share <= BUSY_SHARE:
            return None
        return f"other programs used {show_share(share)} of the cores during the run"
    if machine.load_before / machine.cores <= BUSY_SHARE:
        return None
    return f"the load was {machine.load_before:.1f} on {machine.cores} cores before the run"


def _range_of(figure: Figure) -> float:
    return max(figure.values) - min(figure.values)
