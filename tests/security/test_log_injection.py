"""Nobody can write a line, or a command of the terminal, into the log: not even by an exception."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from redispatcher_fastapi.broker.types import AttemptError, Delivery, Died, Outcome, TakenBack
from redispatcher_fastapi.describing import describe_error, describe_text
from redispatcher_fastapi.hooks import LoggingHooks, PoolHooks
from redispatcher_fastapi.logs import JsonFormatter, TerminalFormatter

FORGERY = "x\n00:00:00 Pay a succeeded in 0.001 s.\r\x1b[2J\x9b31m\u2028\u202e\x00"
FORMATTERS: list[logging.Formatter] = [
    JsonFormatter(),
    TerminalFormatter(has_colours=False),
    TerminalFormatter(has_colours=True),
]


def delivery(job_id: str = "a") -> Delivery:
    return Delivery("pay", job_id, "holder", 1, "1,1", b"", None)


def raised(text: str) -> Exception:
    error = ValueError(text)
    error.__cause__ = LookupError(text)
    return error


def end(hooks: PoolHooks, outcome: Outcome, job_id: str = "a") -> None:
    hooks.job_ended(delivery(job_id), "Pay", outcome, 0.1)


EVENTS: dict[str, Callable[[PoolHooks], None]] = {
    "exception": lambda hooks: end(hooks, Died("failed", describe_error(raised(FORGERY)))),
    "text": lambda hooks: end(
        hooks, Died("failed", AttemptError(describe_text(ValueError(FORGERY))))
    ),
    "id": lambda hooks: end(hooks, Died("failed"), job_id=FORGERY),
    "started": lambda hooks: hooks.job_started(delivery(FORGERY), "Pay"),
    "taken": lambda hooks: hooks.job_taken_back(TakenBack("pay", FORGERY, 1, False)),
    "lost": lambda hooks: hooks.lease_lost("pay", [FORGERY, FORGERY]),
    "parked": lambda hooks: hooks.job_parked("pay", FORGERY, "failed"),
}


@pytest.fixture(params=list(EVENTS))
def records(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> list[logging.LogRecord]:
    with caplog.at_level(logging.DEBUG, "redispatcher"):
        EVENTS[request.param](LoggingHooks())
    assert caplog.records
    return caplog.records


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text", "colours"])
def test_a_record_is_one_line_or_has_only_indented_ones_behind_it(
    records: list[logging.LogRecord], formatter: logging.Formatter
) -> None:
    for record in records:
        _, *more = formatter.format(record).removesuffix("\x1b[0m").splitlines()
        assert all(line.startswith("    ") for line in more)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text", "colours"])
def test_a_record_has_no_control_characters_of_others(
    records: list[logging.LogRecord], formatter: logging.Formatter
) -> None:
    for record in records:
        line = formatter.format(record)
        line = line.removesuffix("\x1b[0m")
        for colour in ("\x1b[2m", "\x1b[33m", "\x1b[31m"):
            line = line.removeprefix(colour)
        assert not set(line) & set("\r\x1b\x9b\u2028\u202e\x00")


def test_a_message_is_one_printable_line_also_in_the_log_of_the_application(
    records: list[logging.LogRecord],
) -> None:
    for record in records:
        assert record.getMessage().isprintable()


def test_a_json_line_is_json_and_has_all_of_it(records: list[logging.LogRecord]) -> None:
    for record in records:
        assert json.loads(JsonFormatter().format(record))["message"] == record.getMessage()


def test_what_is_kept_of_an_exception_is_one_printable_line() -> None:
    described = describe_error(raised(FORGERY))

    assert described.text.isprintable()
    assert described.text.startswith(r"ValueError: x\n00:00:00 Pay a succeeded")
    assert "\x1b" not in (described.traceback or "")
