"""The command line: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeVar

import typer

from benchmarks.environments import Environments
from benchmarks.plots import draw
from benchmarks.reporting import summary, write
from benchmarks.results import Mode, save
from benchmarks.running import Order, Run
from benchmarks.servers import ServerFailedError
from benchmarks.sides import find_sides
from benchmarks.workloads import WORKLOADS

OUT = Path("build/benchmarks")
QUICK_SIDES = ["limit", "ours"]
T = TypeVar("T")


def main(
    *,
    out: Annotated[Path, typer.Option(help="Where results.json, report.md and plots go.")] = OUT,
    quick: Annotated[bool, typer.Option(help="Ours against the limit, in 90 seconds.")] = False,
    full: Annotated[bool, typer.Option(help="Everything with everybody; takes an hour.")] = False,
    side: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    workload: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of everything.")] = None,
    fresh: Annotated[bool, typer.Option(help="Install the newest releases again.")] = False,
) -> None:
    """Measure this library, its peers and the hand-written limit, side by side."""
    if quick and full:
        raise typer.BadParameter("Give --quick or --full, not both.")
    mode: Mode = "quick" if quick else "full" if full else "default"
    order = Order(
        mode=mode,
        sides=_choose(find_sides(), side or (QUICK_SIDES if quick else None), "side"),
        workloads=[each for each in _choose(WORKLOADS, workload, "workload") if mode in each.modes],
        rounds=rounds,
    )
    out.mkdir(parents=True, exist_ok=True)
    try:
        run = Run(order, Environments(is_fresh=fresh), _say)
    except ServerFailedError as error:
        _say(str(error))
        raise typer.Exit(1) from None
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run.go(out)
    except KeyboardInterrupt:
        _say("Interrupted: reporting what was measured until now.")
    report = run.report()
    save(report, out / "results.json")
    write(report, out)
    draw(report, out)
    typer.echo(summary(report))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that no process and no server is left behind."""
    raise KeyboardInterrupt


def _choose(known: Mapping[str, T], names: list[str] | None, what: str) -> list[T]:
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"There is no {what} {name!r}; there are {', '.join(known)}.")
    return [value for name, value in known.items() if not names or name in names]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
