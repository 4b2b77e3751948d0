"""What a run found out, as data: written by the harness, read by the report and the plots."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["quick", "default", "full"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Frozen):
    """One quantity of one side in one workload, measured once per round."""

    workload: str
    """A name in ``benchmarks.workloads``, such as ``drain-noop``."""
    metric: str
    """A name in ``benchmarks.metrics``, such as ``jobs_per_second``."""
    side: str
    values: tuple[float, ...] = Field(min_length=1)
    detail: str = ""
    """What differs between sides, such as the rate of latency-loaded: shown beside the figure."""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> float:
        """The distance between the lowest and the highest round, as a share of the median."""
        middle = self.median
        return (max(self.values) - min(self.values)) / middle if middle else 0.0


class Failure(Frozen):
    """A side that could not be installed, crashed, or took too long."""

    side: str
    workload: str | None
    """``None`` if no workload could be run at all."""
    reason: str


class Omission(Frozen):
    """A workload a side takes no part in, as its descriptor says."""

    side: str
    workload: str
    reason: str


class Machine(Frozen):
    """Where it ran, and how busy that was."""

    processor: str
    cores: int
    memory: int
    """Bytes."""
    system: str
    python: str
    redis: str
    load_before: float
    """Average number of running processes over the minute before the run."""
    busy: tuple[float, ...] = ()
    """Share of all cores that programs other than ours used, sampled between the rounds."""


class Report(Frozen):
    mode: Mode
    started: datetime
    seconds: float
    machine: Machine
    versions: dict[str, dict[str, str]]
    """By side: its distributions and their versions."""
    figures: tuple[Figure, ...]
    failures: tuple[Failure, ...] = ()
    omissions: tuple[Omission, ...] = ()

    def find(self, workload: str, metric: str, side: str) -> Figure | None:
        for figure in self.figures:
            if (figure.workload, figure.metric, figure.side) == (workload, metric, side):
                return figure
        return None

    def sides_of(self, workload: str, metric: str) -> tuple[Figure, ...]:
        return tuple(f for f in self.figures if (f.workload, f.metric) == (workload, metric))


def save(report: Report, path: Path) -> None:
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    return Report.model_validate_json(path.read_text(encoding="utf-8"))
