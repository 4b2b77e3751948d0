"""What was asked for on the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

from redispatcher_fastapi.logs import LogFormat, configure_logging


class LogLevel(StrEnum):
    """The least severe log lines that are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """The options of ``redispatcher pool``.

    ``number`` is this process's own one, from 1, among ``processes`` that a parent keeps; ``None``
    without a parent. ``is_reloaded`` says that changed files will end this process.
    """

    target: str
    queues: tuple[str, ...] = ()
    processes: int = 1
    burst: bool = False
    log_level: LogLevel | None = None
    log_format: LogFormat = LogFormat.AUTO
    number: int | None = None
    is_reloaded: bool = False

    def configure_logging(self) -> None:
        """Set up the log; after the target was imported, which may have its own way of logging."""
        level = None if self.log_level is None else self.log_level.upper()
        configure_logging(level, self.log_format)

    def child_command(self, *more: str) -> list[str]:
        """Return the command of a process that runs the same pool by itself."""
        command = [sys.executable, "-m", "redispatcher_fastapi", "pool", self.target]
        for queue in self.queues:
            command += ["--queue", queue]
        if self.burst:
            command += ["--burst"]
        if self.log_level is not None:
            command += ["--log-level", self.log_level]
        return [*command, "--log-format", self.log_format, *more]
