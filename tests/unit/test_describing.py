"""What is kept and logged of an exception: its causes, and no values of a payload."""

from __future__ import annotations

import logging

import pytest
from pydantic import BaseModel, ValidationError

from redispatcher_fastapi.broker.types import AttemptError, Delivery, Died
from redispatcher_fastapi.describing import describe_error, describe_text, holds_payload
from redispatcher_fastapi.hooks import LoggingHooks

SECRET = "4111-SECRET"


class Card(BaseModel):
    number: int


def refuse() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Card.model_validate({"number": SECRET})
    return caught.value


def refuse_to_write() -> BaseException:
    class Odd(BaseModel):
        value: object

    with pytest.raises(Exception, match="serializ") as caught:
        Odd(value=object()).model_dump_json()
    return caught.value


def wrap(error: BaseException, times: int) -> BaseException:
    for _ in range(times):
        wrapped = RuntimeError("wrapped")
        wrapped.__cause__ = error
        error = wrapped
    return error


@pytest.mark.parametrize(
    "error",
    [
        refuse(),
        wrap(refuse(), 1),
        wrap(refuse(), 30),
        BaseExceptionGroup("several", [ValueError("a"), refuse()]),
        wrap(BaseExceptionGroup("several", [ExceptionGroup("inner", [refuse()])]), 2),
        wrap(refuse_to_write(), 1),
    ],
    ids=["bare", "wrapped", "deep", "in a group", "in a group in a group", "of a result"],
)
def test_values_of_a_payload_are_neither_kept_nor_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    described = describe_error(error)
    delivery = Delivery("cards", "a", "holder", 1, "1,1", b"", None)
    with caplog.at_level(logging.DEBUG, "redispatcher"):
        LoggingHooks().job_ended(delivery, "Pay", Died("failed", described), 0.1)

    assert holds_payload(error)
    assert SECRET not in f"{described}{described.traceback}{caplog.text}"
    assert caplog.records[0].exc_info is None


def test_an_ordinary_exception_is_logged_as_it_is() -> None:
    assert not holds_payload(wrap(ValueError("a"), 3))


def test_causes_are_told_in_the_order_in_which_they_came() -> None:
    described = describe_error(wrap(ValueError("first"), 2))

    assert isinstance(described, AttemptError)
    assert described.text == "RuntimeError: wrapped"
    assert described.traceback is not None
    assert described.traceback.index("ValueError: first") < described.traceback.index("wrapped")


def test_what_failed_in_a_group_is_told() -> None:
    described = describe_error(ExceptionGroup("several", [ValueError("one"), OSError("two")]))

    assert described.traceback is not None
    assert "ValueError: one" in described.traceback
    assert "OSError: two" in described.traceback


def test_causes_that_go_in_circles_come_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one

    assert describe_error(one).text == "ValueError: one"


def test_notes_that_were_added_to_an_error_stand_behind_its_text() -> None:
    error, wrong, empty = ValueError("no"), KeyError("a"), LookupError()
    error.add_note("raised by the middleware Tenancy")
    error.add_note("two\nlines")
    setattr(wrong, "__notes__", "not a list")  # noqa: B010  # what no type checker would let pass
    empty.add_note("n" * 5000)

    assert describe_text(error) == "ValueError: no (raised by the middleware Tenancy; two\\nlines)"
    assert describe_text(wrong) == "KeyError: 'a'"
    assert describe_text(empty) == "LookupError (" + "n" * 510
    assert "Tenancy" in (describe_error(error).traceback or "")
