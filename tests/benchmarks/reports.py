"""Reports and sides that nobody measured, for tests alone."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks.results import Failure, Figure, Machine, Mode, Omission, Report
from benchmarks.sides import Side
from benchmarks.sides.side import Delivery


def make_side(name: str, *, delivery: Delivery = "at least once", baseline: bool = False) -> Side:
    return Side(
        name=name,
        program=name,
        requirements=(name,),
        versions=(name,),
        delivery=delivery,
        worker=(name,),
        notes=f"{name} as documented",
        pace=1,
        publish_pace=1,
        baseline=baseline,
    )


SIDES = {
    side.name: side
    for side in (
        make_side("ours", baseline=True),
        make_side("limit", baseline=True),
        make_side("steady"),
        make_side("careless", delivery="at most once"),
    )
}


def make_machine(*, busy: tuple[float, ...] = (0.0,), load_before: float = 0.0) -> Machine:
    return Machine(
        processor="A processor",
        cores=2,
        memory=8 * 1024**3,
        system="A system",
        python="CPython 3.13.0",
        redis="7.2.0",
        load_before=load_before,
        busy=busy,
    )


def make_figure(workload: str, metric: str, side: str, *values: float, detail: str = "") -> Figure:
    return Figure(workload=workload, metric=metric, side=side, values=values, detail=detail)


def make_report(
    *figures: Figure,
    mode: Mode = "full",
    machine: Machine | None = None,
    versions: dict[str, dict[str, str]] | None = None,
    failures: tuple[Failure, ...] = (),
    omissions: tuple[Omission, ...] = (),
) -> Report:
    return Report(
        mode=mode,
        started=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        seconds=600,
        machine=machine or make_machine(),
        versions=versions or {},
        figures=figures,
        failures=failures,
        omissions=omissions,
    )
