"""The commands and their options."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from redispatcher_fastapi.cli.options import LogLevel, PoolOptions
from redispatcher_fastapi.cli.processes import run_processes
from redispatcher_fastapi.cli.reloading import run_reloading
from redispatcher_fastapi.cli.running import run_pool
from redispatcher_fastapi.logs import LogFormat

# Pretty tracebacks would show local variables, and with them messages and passwords.
cli = typer.Typer(
    name="redispatcher",
    help="Runs the consumers of redispatcher_fastapi.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; ends with its exit code."""
    cli()


def read_version() -> str:
    """Return the version that is installed."""
    try:
        return version("redispatcher-fastapi")
    except PackageNotFoundError:  # run from a checkout
        return "(not installed)"


def _show_version(is_asked: bool) -> None:  # typer calls it so
    if is_asked:
        typer.echo(f"redispatcher_fastapi {read_version()}")
        raise typer.Exit


@cli.callback()
def _redispatcher(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Runs the consumers of redispatcher_fastapi."""


@cli.command()
def pool(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="MODULE:NAME of a FastAPI application, a Redispatcher or a RedispatcherConfig, "
            "as in main:app.",
        ),
    ],
    *,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", help="Take jobs from this queue only; can be repeated."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, max=1000, help="Run that many processes, and keep them."
        ),
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again whenever a Python file here changes.")
    ] = False,
    burst: Annotated[
        bool, typer.Option("--burst", help="End once nothing is left that could run now.")
    ] = False,
    log_level: Annotated[
        LogLevel | None,
        typer.Option("--log-level", case_sensitive=False, help="Show this and what is worse."),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="auto is text on a terminal and JSON lines elsewhere."),
    ] = LogFormat.AUTO,
    number: Annotated[int | None, typer.Option("--process-number", hidden=True)] = None,
    is_reloaded: Annotated[bool, typer.Option("--reloaded", hidden=True)] = False,
) -> None:
    """Run consumers until SIGTERM or Ctrl-C; the second one stops at once.

    SIGUSR1 drains: nothing more is taken, and what runs may take its time.

    Exit codes: 0 stopped, 1 failed, 2 wrong target or option, 78 wrong configuration or
    credentials.
    """
    options = PoolOptions(
        target=target,
        queues=tuple(queue or ()),
        processes=processes,
        burst=burst,
        log_level=log_level,
        log_format=log_format,
        number=number,
        is_reloaded=is_reloaded,
    )
    if reload and (processes > 1 or burst):
        raise typer.BadParameter(
            "it goes with neither --processes nor --burst", param_hint="--reload"
        )
    if reload:
        run_reloading(options)
    elif processes > 1 and number is None:
        run_processes(options)
    else:
        run_pool(options, version=read_version())
