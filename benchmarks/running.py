"""Runs all sides through all workloads, in turn, and keeps what was found after each step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.environments import Environment, EnvironmentFailedError, Environments
from benchmarks.machine import Busy, describe
from benchmarks.measuring import MEASUREMENTS, Round
from benchmarks.results import Failure, Figure, Machine, Mode, Omission, Report, save
from benchmarks.servers import Server
from benchmarks.sides import Side
from benchmarks.workloads import Workload

_ENOUGH_FAILURES = 2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run."""

    mode: Mode
    sides: Sequence[Side]
    workloads: Sequence[Workload]
    rounds: int | None = None
    """Of everything, instead of what each workload has."""

    def rounds_of(self, workload: Workload, side: Side) -> int:
        own = workload.rounds_of(self.mode, is_baseline=side.baseline)
        return min(own, 1) * self.rounds if self.rounds else own

    def steps(self) -> Iterator[tuple[Workload, Side]]:
        """Everything once, then everything again: what the machine does meanwhile hits all."""
        most = max(
            (self.rounds_of(workload, side) for workload in self.workloads for side in self.sides),
            default=0,
        )
        for number in range(most):
            for workload in self.workloads:
                for side in self.sides:
                    if number < self.rounds_of(workload, side):
                        yield workload, side


@dataclass(slots=True)
class Run:
    """A run under way; ``report()`` says what it has found so far."""

    order: Order
    environments: Environments
    say: Say
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.monotonic)
    _values: dict[tuple[str, str, str], list[float]] = field(
        default_factory=dict[tuple[str, str, str], list[float]]
    )
    _details: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """Of the last round: it differs little from the others."""
    _failures: list[Failure] = field(default_factory=list[Failure])
    _omissions: dict[tuple[str, str], Omission] = field(
        default_factory=dict[tuple[str, str], Omission]
    )
    _versions: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _found: dict[str, Environment] = field(default_factory=dict[str, Environment])
    _busy: list[float] = field(default_factory=list[float])
    _machine: Machine = field(init=False)

    def __post_init__(self) -> None:
        with Server() as server:
            self._machine = describe(server.version)

    def report(self) -> Report:
        return Report(
            mode=self.order.mode,
            started=self._started,
            seconds=time.monotonic() - self._began,
            machine=self._machine.model_copy(update={"busy": tuple(self._busy)}),
            versions=self._versions,
            figures=tuple(
                Figure(
                    workload=workload,
                    metric=metric,
                    side=side,
                    values=tuple(values),
                    detail=self._details.get((workload, side), ""),
                )
                for (workload, metric, side), values in self._values.items()
            ),
            failures=tuple(self._failures),
            omissions=tuple(self._omissions.values()),
        )

    def go(self, out: Path) -> None:
        """Measure everything; what was found is in ``results.json`` after each step."""
        self._find_environments()
        busy = Busy(_own_pids)
        for workload, side in self.order.steps():
            if side.name not in self._found or not self._may_take_part(workload, side):
                continue
            busy.start()
            began = time.monotonic()
            self._measure(workload, side)
            self._busy.append(busy.stop())
            self.say(f"{' ' * 12}{time.monotonic() - began:.1f} s, busy {self._busy[-1]:.0%}")
            save(self.report(), out / "results.json")

    def _find_environments(self) -> None:
        for side in self.order.sides:
            if not any(self.order.rounds_of(workload, side) for workload in self.order.workloads):
                continue
            try:
                environment = self.environments.find(side)
                self._versions[side.name] = environment.read_versions(side.versions)
            except (EnvironmentFailedError, OSError) as error:
                self._fail(side, None, error)
            else:
                self._found[side.name] = environment
                self.say(f"{side.name}: {self._versions[side.name]}")

    def _may_take_part(self, workload: Workload, side: Side) -> bool:
        needed = [*workload.needs] + ["endpoint"] * (workload.name == "endpoint")
        for need in needed:
            reason = side.cannot.get(need)
            if need == "endpoint" and side.endpoint is None:
                return False
            if reason is not None:
                key = (side.name, workload.name)
                self._omissions[key] = Omission(
                    side=side.name, workload=workload.name, reason=reason
                )
                return False
        failed = [f for f in self._failures if (f.side, f.workload) == (side.name, workload.name)]
        return len(failed) < _ENOUGH_FAILURES

    def _measure(self, workload: Workload, side: Side) -> None:
        round = Round(side, self._found[side.name], self.order.mode, self.report())
        try:
            figures = MEASUREMENTS[workload.name](round)
        except Exception as error:  # whatever it is, the other sides are measured all the same
            self._fail(side, workload, error)
            return
        for metric, value in figures.items():
            self._values.setdefault((workload.name, metric, side.name), []).append(value)
        if figures.detail:
            self._details[workload.name, side.name] = figures.detail
        shown = ", ".join(f"{metric} {value:.4g}" for metric, value in figures.items())
        self.say(f"{workload.name:16} {side.name:18} {shown}")

    def _fail(self, side: Side, workload: Workload | None, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        name = workload.name if workload else None
        self._failures.append(Failure(side=side.name, workload=name, reason=reason))
        self.say(f"{name or 'installation':16} {side.name:18} FAILED: {reason}")


def _own_pids() -> set[int]:
    own = psutil.Process(os.getpid())
    return {own.pid, *(child.pid for child in own.children(recursive=True))}
