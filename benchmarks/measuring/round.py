"""What a measurement is told, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.environments import Environment
from benchmarks.results import Mode, Report
from benchmarks.sides import Side


class Figures(dict[str, float]):
    """By metric; ``detail`` says what else a reader has to know, such as a rate."""

    def __init__(self, values: Mapping[str, float], *, detail: str = "") -> None:
        super().__init__(values)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Round:
    """What a measurement is told."""

    side: Side
    environment: Environment
    mode: Mode
    #: What this run found until now: how fast a side is decides how much it is given.
    report: Report

    @property
    def is_thorough(self) -> bool:
        """Whether this takes its time: peers get less of it in the default mode."""
        return self.side.baseline or self.mode == "full"

    def jobs(self, seconds: float, *, pace: int | None = None, most: int = 200_000) -> int:
        """How many jobs take about so long."""
        count = int((pace or self.side.pace) * seconds)
        return max(100, min(most, round(count, -2)))
