"""What a run found out, as data: written by the harness, read by the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.faults.outcomes import Kill, Poison, Stop
from benchmarks.results import Machine


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of one library."""

    versions: dict[str, str]
    kill: Kill | None = None
    stop: Stop | None = None
    poison: Poison | None = None
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Why a fault has no outcome: by its name."""


@dataclass(frozen=True, slots=True)
class Report:
    started: datetime
    seconds: float
    at_once: int
    """How many libraries were put through it at the same time."""
    machine: Machine
    outcomes: dict[str, Outcomes]


_REPORT = TypeAdapter(Report)


def save(report: Report, path: Path) -> None:
    path.write_bytes(_REPORT.dump_json(report, indent=1) + b"\n")


def load(path: Path) -> Report:
    return _REPORT.validate_json(path.read_bytes())
