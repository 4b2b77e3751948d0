"""The command line."""

from __future__ import annotations

from redispatcher_fastapi.cli.commands import main

__all__ = ["main"]
