"""Messages as rows of an outbox, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.errors import PublishError
from redispatcher_fastapi.keys import InvalidNameError, check_job_id, check_queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispatcher_fastapi.database.channel import Waiting

#: What has columns of its own; everything else a submission has is an option.
_COLUMNS = frozenset({"job_id", "envelope"})


class RowError(PublishError):
    """Raised when a row of an outbox is no message that this release can publish."""


@dataclass(frozen=True, slots=True)
class Row:
    """One message in the table."""

    position: int
    unit: str
    queue: str
    job_id: str
    envelope: bytes
    options: str
    attempts: int


def encode_row(unit: str, message: Waiting) -> Mapping[str, Any]:
    """Return the values of the columns."""
    submission = message.submission
    options = _adapter().dump_json(submission, exclude=set(_COLUMNS), exclude_defaults=True)
    return {
        "unit": unit,
        "queue": message.queue,
        "job_id": submission.job_id,
        "envelope": submission.envelope,
        "options": options.decode(),
    }


def decode_row(row: Row) -> Submission:
    """Return what is to be published; its id makes that safe to repeat.

    Raises:
        RowError: it was changed by hand, or has options of a later release.
    """
    try:
        check_queue_name(row.queue)
        check_job_id(row.job_id)
        options = json.loads(row.options)
        unknown = sorted(set(options) - _option_names())
        if unknown:
            raise RowError(f"this release does not know the option {unknown[0]!r}")
        decoded = _adapter().validate_json(
            json.dumps({**options, "job_id": row.job_id, "envelope": ""})
        )
    except InvalidNameError as error:
        raise RowError(str(error)) from error
    except (ValidationError, ValueError, TypeError) as error:
        raise RowError(f"its options cannot be read ({type(error).__name__})") from error
    return replace(decoded, envelope=bytes(row.envelope), is_chosen_id=True)


@cache
def _adapter() -> TypeAdapter[Submission]:
    return TypeAdapter(Submission)


@cache
def _option_names() -> frozenset[str]:
    return frozenset(field.name for field in fields(Submission)) - _COLUMNS
