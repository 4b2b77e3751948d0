"""Turns exceptions into text that is bounded and shows no values of a payload."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from redispatcher_fastapi.broker.types import AttemptError
from redispatcher_fastapi.message import on_one_line, summarize_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_TEXT = 2048
_MAX_NOTES = 512
_MAX_FRAMES = 40
_LONGEST_ID = 128
_MAX_CAUSES = 5
# Their texts show the values that were refused.
_HOLDING_PAYLOAD = (ValidationError, PydanticSerializationError)


def describe_error(error: BaseException) -> AttemptError:
    """Return what the history keeps of an exception.

    A ``ValidationError`` repeats its whole input in its text; only the places and the rules that
    were broken are kept of it.
    """
    parts: list[str] = []
    for cause in islice(_causes(error), _MAX_CAUSES):
        frames = traceback.format_tb(cause.__traceback__, limit=-_MAX_FRAMES)
        parts.append(f"{''.join(frames)}{describe_text(cause)}")
    joint = "\n\nwhich led to:\n\n"
    return AttemptError(describe_text(error), joint.join(reversed(parts)), error)


def describe_text(error: BaseException) -> str:
    """Return the type and the message of an exception on one line."""
    name = type(error).__qualname__
    notes = _notes(error)
    if isinstance(error, ValidationError):
        return on_one_line(f"{name}: {summarize_problems(error)}"[:_MAX_TEXT] + notes)
    if isinstance(error, _HOLDING_PAYLOAD):
        return name + notes
    try:
        text = str(error)
    except Exception:  # an exception whose text cannot be made is still an exception
        text = "(its text could not be made)"
    return on_one_line((f"{name}: {text}"[:_MAX_TEXT] if text else name) + notes)


def _notes(error: BaseException) -> str:
    """Return what was added to an exception on its way, such as who raised it."""
    notes: object = getattr(error, "__notes__", None)
    if not isinstance(notes, list):
        return ""
    texts = [note for note in cast("list[object]", notes) if isinstance(note, str)]
    return f" ({'; '.join(texts)})"[:_MAX_NOTES] if texts else ""


def log_exception(
    logger: logging.Logger,
    error: BaseException,
    message: str,
    *arguments: object,
    level: int = logging.ERROR,
) -> None:
    """Log an exception with its traceback, but without the values of a payload it may show."""
    if holds_payload(error):
        logger.log(level, f"{message}\n%s", *arguments, describe_error(error).traceback)
    else:
        logger.log(level, message, *arguments, exc_info=error)


def shown_id(job_id: str) -> str:
    """Return the id of a job for a log line; an id that somebody forged may be anything."""
    return on_one_line(job_id[:_LONGEST_ID])


def holds_payload(error: BaseException) -> bool:
    """Whether the standard rendering of an exception, or of what caused it, shows input values."""
    return any(isinstance(cause, _HOLDING_PAYLOAD) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it, the members of groups among them."""
    seen: set[int] = set()
    left: deque[BaseException | None] = deque([error])
    while left:
        cause = left.popleft()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            left.extend(cast("BaseExceptionGroup[BaseException]", cause).exceptions)
        left.append(cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__))
