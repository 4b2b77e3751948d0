"""The options of a publish, and what is refused of them before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from pydantic import BaseModel

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.errors import PublishError
from redispatcher_fastapi.job import Priority
from redispatcher_fastapi.keys import check_job_id

if TYPE_CHECKING:
    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.consumer.unique import Unique

_ZERO = timedelta()


class InvalidOptionError(PublishError, ValueError):
    """Raised when an option of a publish cannot be used, alone or with the others."""


class PublishManyOptions(TypedDict, total=False):
    """What ``publish_many`` takes besides the messages; it holds for each of them."""

    delay: timedelta | None
    at: datetime | None
    headers: BaseModel | Mapping[str, Any] | None
    priority: Priority | None
    expires: timedelta | datetime | None
    unique: Unique | None


class PublishOptions(PublishManyOptions, total=False):
    """What ``publish`` takes besides the message."""

    id: str | None


class FlowOptions(TypedDict, total=False):
    """What ``publish_chain`` and ``publish_group`` take besides the messages."""

    id: str | None
    delay: timedelta | None
    at: datetime | None
    headers: BaseModel | Mapping[str, Any] | None
    priority: Priority | None
    expires: timedelta | datetime | None


def checked_id(definition: ConsumerDefinition, job_id: Any) -> str:
    """Return an id that the caller chose, if it can identify a job."""
    if not isinstance(job_id, str):
        raise InvalidOptionError(
            f"The id for {definition.name} must be a string, not {type(job_id).__name__}: use "
            "str(...)."
        )
    return check_job_id(job_id)


def refuse_one_message(definition: ConsumerDefinition, messages: Any) -> None:
    """Refuse what is given in the place of several messages, and could be gone through."""
    given = type(messages).__qualname__
    if isinstance(messages, (BaseModel, str, bytes, Mapping)):
        raise InvalidOptionError(
            f"Several messages for {definition.name} are a list of them, also of one, not {given}."
        )


def check_start(definition: ConsumerDefinition, delay: Any, at: Any) -> None:
    """Refuse a time to start that cannot be used."""
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
        _refuse_naive(at, "at", where)
        if at - datetime.now(UTC) > LONGEST_DELAY:
            raise InvalidOptionError(f"{where} is to start more than 100 years ahead: {at}.")


def _refuse_naive(time: datetime, name: str, where: str) -> None:
    if time.utcoffset() is None:
        raise InvalidOptionError(
            f"{where} has a naive datetime as `{name}`, which could mean any time zone: "
            "use datetime.now(UTC) + ... or .replace(tzinfo=...)."
        )


def checked_priority(priority: Any, where: str) -> Priority:
    """Return a priority; its text will do."""
    try:
        return Priority(priority)
    except ValueError:
        names = ", ".join(f"Priority.{each.name}" for each in Priority)
        raise InvalidOptionError(
            f"{where} needs one of {names} as its priority, not {priority!r:.80}."
        ) from None


def checked_expiry(
    definition: ConsumerDefinition,
    expires: Any,
    delay: timedelta | None,
    at: datetime | None,
    where: str,
) -> timedelta | datetime | None:
    """Return when a message expires, by its option or its consumer."""
    name = "expires" if expires is not None else f"{definition.name}.EXPIRES"
    value = definition.expires if expires is None else expires
    if value is None:
        return None
    if isinstance(value, timedelta):
        if not _ZERO < value <= LONGEST_DELAY:
            raise InvalidOptionError(
                f"{where} needs a duration of up to 100 years, and longer than nothing, as "
                f"`expires`, not {value}."
            )
        if delay is not None and delay >= value:
            raise InvalidOptionError(
                f"{where} would never run: it starts {delay} after it is published, and {name} "
                f"ends it {value} after. Give it an `expires` that is longer than its delay."
            )
        return value
    if not isinstance(value, datetime):
        raise InvalidOptionError(
            f"{where} needs a timedelta or an aware datetime as `expires`, not "
            f"{type(value).__name__}."
        )
    _refuse_naive(value, "expires", where)
    if value - datetime.now(UTC) > LONGEST_DELAY:
        raise InvalidOptionError(f"{where} is to expire more than 100 years ahead: {value}.")
    if at is not None and at.utcoffset() is not None and at >= value:
        raise InvalidOptionError(
            f"{where} would never run: it starts at {at}, and expires at {value}."
        )
    return value
