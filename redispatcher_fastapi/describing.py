"""Turns exceptions into text that is bounded and shows no values of a payload."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from pydantic import ValidationError

from redispatcher_fastapi.broker.types import AttemptError
from redispatcher_fastapi.message import summarize_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_TEXT = 2048
_MAX_FRAMES = 40
_MAX_CAUSES = 5


def describe_error(error: BaseException) -> AttemptError:
    """Return what the history keeps of an exception.

    A ``ValidationError`` repeats its whole input in its text, and its own frames hold it too; only
    the places and the rules that were broken are kept of it.
    """
    parts: list[str] = []
    for cause in _causes(error):
        frames = traceback.format_tb(cause.__traceback__, limit=-_MAX_FRAMES)
        parts.append(f"{''.join(frames)}{describe_text(cause)}")
    joint = "\n\nwhich led to:\n\n"
    return AttemptError(describe_text(error), joint.join(reversed(parts)), error)


def describe_text(error: BaseException) -> str:
    """Return the type and the message of an exception on one line."""
    name = type(error).__qualname__
    if isinstance(error, ValidationError):
        return f"{name}: {summarize_problems(error)}"[:_MAX_TEXT]
    try:
        text = str(error)
    except Exception:  # an exception whose text cannot be made is still an exception
        text = "(its text could not be made)"
    return f"{name}: {text}"[:_MAX_TEXT] if text else name


def holds_payload(error: BaseException) -> bool:
    """Whether the standard rendering of an exception, or of what caused it, shows input values."""
    return any(isinstance(cause, ValidationError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
