"""Who decides what the log looks like: the command line, else the application, else a default."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator

import pytest

from redispatcher_fastapi.logs import JsonFormatter, LogFormat, TerminalFormatter, configure_logging


@pytest.fixture(autouse=True)
def log() -> Generator[logging.Logger]:
    """The library's logger, as it is in a fresh process that has set up no logging."""
    log = logging.getLogger("redispatcher")
    handlers, level, propagate = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [], True
    log.setLevel(logging.NOTSET)
    yield log
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture
def application_logs() -> Generator[None]:
    """Logging that the application has set up."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def test_lines_are_json_where_there_is_no_terminal(
    log: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own

    configure_logging()

    log.info("Job %s ended.", "x", extra={"queue": "mails"})

    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["level"], line["queue"]) == ("Job x ended.", "info", "mails")
    assert line["pid"] == os.getpid()


def test_the_logging_of_the_application_is_left_alone(
    log: logging.Logger, application_logs: None
) -> None:
    configure_logging()

    assert (log.handlers, log.level, log.propagate) == ([], logging.NOTSET, True)


def test_a_level_that_was_asked_for_counts_in_any_case(
    log: logging.Logger, application_logs: None
) -> None:
    configure_logging("DEBUG")

    assert (log.handlers, log.level) == ([], logging.DEBUG)


@pytest.mark.parametrize(
    ("log_format", "formatter"),
    [(LogFormat.TEXT, TerminalFormatter), (LogFormat.JSON, JsonFormatter)],
)
def test_a_format_that_was_asked_for_counts_in_any_case(
    log: logging.Logger,
    application_logs: None,
    log_format: LogFormat,
    formatter: type[logging.Formatter],
) -> None:
    configure_logging(log_format=log_format)

    (handler,) = log.handlers
    assert isinstance(handler.formatter, formatter)
    assert (log.level, log.propagate) == (logging.INFO, False)


def test_configuring_again_adds_no_second_line(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format=LogFormat.TEXT)
    configure_logging(log_format=LogFormat.TEXT)
    configure_logging()

    log.warning("Once.")

    assert capsys.readouterr().err.endswith("warning: Once.\n")


def test_text_shows_control_characters_instead_of_obeying_them() -> None:
    record = logging.makeLogRecord({"msg": "red \x1b[31m", "levelno": logging.INFO})

    assert TerminalFormatter(has_colours=False).format(record).endswith("red \\x1b[31m")
