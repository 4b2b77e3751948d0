"""Log lines for a person at a terminal, JSON for everything else; never a message body."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_INDENT = "    "
_COLOURS = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}


class LogFormat(StrEnum):
    """``auto`` is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class JsonFormatter(logging.Formatter):
    """One JSON object per line; what was passed as ``extra`` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        fields.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class TerminalFormatter(logging.Formatter):
    """Time, a word where it matters, and the sentence; further lines of a record are indented.

    Control characters are shown, not obeyed.
    """

    def __init__(self, *, has_colours: bool) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # the reader's own clock
        word = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        line = f"{time} {word}{_printable(record.getMessage())}"
        if record.exc_info:
            line = f"{line}\n{_INDENT}{_printable(self.formatException(record.exc_info))}"
        colour = _COLOURS.get(record.levelno, "") if self._has_colours else ""
        return f"{colour}{line}\x1b[0m" if colour else line


def configure_logging(
    level: int | str | None = None, log_format: LogFormat = LogFormat.AUTO
) -> None:
    """Show the library's log on standard error, from INFO on if no level is given.

    An application that has set up logging itself is left alone, save for what is given explicitly:
    a level, or a format other than ``auto``.
    """
    log = logging.getLogger("redispatcher")
    if level is not None:
        log.setLevel(level)
    if log_format is LogFormat.AUTO and (log.handlers or logging.getLogger().handlers):
        return
    if level is None:
        log.setLevel(logging.INFO)
    is_terminal = sys.stderr.isatty()
    is_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and is_terminal)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerminalFormatter(has_colours=is_terminal) if is_text else JsonFormatter())
    log.handlers = [handler]
    log.propagate = False


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() or character == "\t" else _shown(character)
        for character in text
    )


def _shown(character: str) -> str:
    if character == "\n":
        return f"\n{_INDENT}"  # nobody can make a line that looks like a record
    return character.encode("unicode_escape").decode()
