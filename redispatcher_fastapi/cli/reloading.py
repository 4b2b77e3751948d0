"""A pool that starts again whenever its code changes."""

from __future__ import annotations

import logging
import shlex
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Collection

    from redispatcher_fastapi.cli.options import PoolOptions

logger = logging.getLogger("redispatcher.pool")

#: Far more than a pool takes that has next to no grace period, see running.py.
_ENDS_WITHIN_SECONDS = 15


def run_reloading(options: PoolOptions) -> None:
    """Run a pool in a child process, and a new one after each change of a Python file below here.

    The jobs that a change interrupts are handed back and run on the new code.
    """
    if find_spec("watchfiles") is None:
        typer.echo(
            "Error: --reload needs watchfiles: pip install 'redispatcher-fastapi[reload]'", err=True
        )
        raise typer.Exit(2)
    from watchfiles import PythonFilter, run_process  # optional

    options.configure_logging()
    logger.info("Watching the Python files in this folder; a change starts the pool again.")
    # Raised by a signal that arrives while the child is being replaced.
    with suppress(KeyboardInterrupt):
        run_process(
            ".",
            target=shlex.join(options.child_command("--reloaded")),
            target_type="command",
            watch_filter=PythonFilter(),
            callback=_report,
            debounce=400,
            sigint_timeout=_ENDS_WITHIN_SECONDS,
        )


def _report(changes: Collection[tuple[object, str]]) -> None:
    names = sorted({path for _, path in changes})
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    logger.info("Changed: %s%s; starting again.", names[0], more)
