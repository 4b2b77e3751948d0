"""The command line: `python -m benchmarks.faults`, or `make faults`."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, TypeVar

import typer

from benchmarks.faults.contenders import CONTENDERS
from benchmarks.faults.faults import FAULTS
from benchmarks.faults.page import write_page
from benchmarks.faults.results import load, save
from benchmarks.faults.running import Run

OUT = Path("build/benchmarks")
T = TypeVar("T")


def main(
    *,
    out: Annotated[Path, typer.Option(help="Where faults.json and faults.md go.")] = OUT,
    library: Annotated[list[str] | None, typer.Option(help="Only this; repeatable.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Kills and stops of each.")] = 3,
    at_once: Annotated[int, typer.Option(min=1, help="Libraries at the same time.")] = 1,
    render: Annotated[bool, typer.Option(help="Only write the page of faults.json.")] = False,
) -> None:
    """Kill, freeze and poison the workers of this library and of its peers."""
    out.mkdir(parents=True, exist_ok=True)
    if not render:
        contenders = {each.name: each for each in CONTENDERS}
        run = Run(
            contenders=_choose(contenders, library, "library"),
            faults=_choose({name: name for name in FAULTS}, fault, "fault"),
            rounds=rounds,
            at_once=at_once,
        )
        signal.signal(signal.SIGTERM, _interrupt)
        save(run.go(), out / "faults.json")
    page = write_page(load(out / "faults.json"))
    (out / "faults.md").write_text(page, encoding="utf-8")
    typer.echo(page)


def _choose(known: Mapping[str, T], names: list[str] | None, what: str) -> list[T]:
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"There is no {what} {name!r}; there are {', '.join(known)}.")
    return [value for name, value in known.items() if not names or name in names]


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that no process and no server is left behind."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    typer.run(main)
