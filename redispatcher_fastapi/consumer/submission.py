"""Checks a message and its options, and makes of them what the engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer.encoding import MessageEncodingError
from redispatcher_fastapi.consumer.options import check_start, checked_id
from redispatcher_fastapi.consumer.traits import traits_for
from redispatcher_fastapi.errors import MessageTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from pydantic import BaseModel

    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.consumer.unique import Unique
    from redispatcher_fastapi.job import Priority
    from redispatcher_fastapi.sealing import Sealing

MAX_MESSAGE_BYTES = 262_144


def prepare(
    definition: ConsumerDefinition,
    message: Any,
    *,
    id: str | None = None,  # the name of the public attribute Job.id
    delay: timedelta | None = None,
    at: datetime | None = None,
    headers: BaseModel | Mapping[str, Any] | None = None,
    priority: Priority | None = None,
    expires: timedelta | datetime | None = None,
    unique: Unique | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    sealing: Sealing | None = None,
) -> Submission:
    """Return the submission of one message.

    Raises:
        WrongMessageError: it is not exactly the consumer's ``Message``.
        MessageEncodingError: message or headers have no JSON that could be read back, or cannot
            be encrypted.
        MessageTooLargeError: the envelope, sealed, has more than ``max_message_bytes``.
        InvalidOptionError: an option cannot be used.
        ConfigurationError: ``unique`` cannot be had together with ``sealing``.
        InvalidNameError: ``id`` cannot identify a job.
    """
    envelope = definition.encode(message, headers)
    job_id = new_job_id() if id is None else checked_id(definition, id)
    if sealing is not None:
        envelope = _seal(definition, sealing, envelope, job_id)
    if len(envelope) > max_message_bytes:
        raise MessageTooLargeError(
            f"The message for {definition.name} takes {len(envelope)} bytes, more than the limit "
            f"of {max_message_bytes}: store what is large elsewhere and publish a reference to it, "
            "or raise max_message_bytes."
        )
    if delay is not None or at is not None:
        check_start(definition, delay, at)
    traits = None
    asks = priority is not None or expires is not None or unique is not None
    if asks or definition.has_traits:
        traits = traits_for(
            definition,
            message,
            priority=priority,
            expires=expires,
            unique=unique,
            delay=delay,
            at=at,
            sealing=sealing,
        )
    return Submission(job_id, envelope, delay, at, id is not None, traits)


def _seal(definition: ConsumerDefinition, sealing: Sealing, envelope: bytes, job_id: str) -> bytes:
    try:
        return sealing.seal_message(envelope, queue=definition.queue, job_id=job_id)
    except Exception as error:
        # Its text could hold anything, the message included.
        raise MessageEncodingError(
            f"The message for {definition.name} cannot be encrypted ({type(error).__qualname__}): "
            "see to the cipher in the configuration's `sealing`."
        ) from error
