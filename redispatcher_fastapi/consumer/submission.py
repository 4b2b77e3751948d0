"""Checks a message and its options, and makes of them what the engine takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.consumer.encoding import MessageEncodingError
from redispatcher_fastapi.errors import MessageTooLargeError, PublishError
from redispatcher_fastapi.keys import check_job_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.sealing import Sealing

MAX_MESSAGE_BYTES = 262_144
_ZERO = timedelta()


class InvalidOptionError(PublishError, ValueError):
    """Raised when ``delay``, ``at`` or ``id`` of a publish cannot be used, alone or together."""


def prepare(
    definition: ConsumerDefinition,
    message: Any,
    *,
    id: str | None = None,  # the name of the public attribute Job.id
    delay: timedelta | None = None,
    at: datetime | None = None,
    headers: BaseModel | Mapping[str, Any] | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    sealing: Sealing | None = None,
) -> Submission:
    """Return the submission of one message.

    Raises:
        WrongMessageError: it is not exactly the consumer's ``Message``.
        MessageEncodingError: message or headers have no JSON that could be read back, or cannot
            be encrypted.
        MessageTooLargeError: the envelope, sealed, has more than ``max_message_bytes``.
        InvalidOptionError: ``delay`` or ``at`` cannot be used.
        InvalidNameError: ``id`` cannot identify a job.
    """
    envelope = definition.encode(message, headers)
    job_id = new_job_id() if id is None else _checked_id(definition, id)
    if sealing is not None:
        envelope = _seal(definition, sealing, envelope, job_id)
    if len(envelope) > max_message_bytes:
        raise MessageTooLargeError(
            f"The message for {definition.name} takes {len(envelope)} bytes, more than the limit "
            f"of {max_message_bytes}: store what is large elsewhere and publish a reference to it, "
            "or raise max_message_bytes."
        )
    if id is None and delay is None and at is None:
        return Submission(job_id, envelope)
    _check_start(definition, delay, at)
    return Submission(job_id, envelope, delay, at, id is not None)


def _seal(definition: ConsumerDefinition, sealing: Sealing, envelope: bytes, job_id: str) -> bytes:
    try:
        return sealing.seal_message(envelope, queue=definition.queue, job_id=job_id)
    except Exception as error:
        # Its text could hold anything, the message included.
        raise MessageEncodingError(
            f"The message for {definition.name} cannot be encrypted ({type(error).__qualname__}): "
            "see to the cipher in the configuration's `sealing`."
        ) from error


def _checked_id(definition: ConsumerDefinition, job_id: Any) -> str:
    if not isinstance(job_id, str):
        raise InvalidOptionError(
            f"The id for {definition.name} must be a string, not {type(job_id).__name__}: use "
            "str(...)."
        )
    return check_job_id(job_id)


def _check_start(definition: ConsumerDefinition, delay: Any, at: Any) -> None:
    where = f"The publish to {definition.name}"
    if delay is not None and at is not None:
        raise InvalidOptionError(
            f"{where} has both a delay and a time to start at; give one of them."
        )
    if delay is not None:
        if not isinstance(delay, timedelta):
            raise InvalidOptionError(
                f"{where} needs a timedelta as its delay, not {type(delay).__name__}: "
                "timedelta(seconds=...)."
            )
        if not _ZERO <= delay <= LONGEST_DELAY:
            raise InvalidOptionError(
                f"{where} has a delay that is negative or longer than 100 years."
            )
    if at is not None:
        if not isinstance(at, datetime):
            raise InvalidOptionError(
                f"{where} needs an aware datetime as `at`, not {type(at).__name__}."
            )
        if at.utcoffset() is None:
            raise InvalidOptionError(
                f"{where} has a naive datetime as `at`, which could mean any time zone: "
                "use datetime.now(UTC) + ... or .replace(tzinfo=...)."
            )
        if at - datetime.now(UTC) > LONGEST_DELAY:
            raise InvalidOptionError(f"{where} is to start more than 100 years ahead: {at}.")
