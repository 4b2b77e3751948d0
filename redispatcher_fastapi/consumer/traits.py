"""What a message asks for besides running in its turn: a level, a partition, an end, a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Traits
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.consumer.lock_keys import check_unique, lock_key
from redispatcher_fastapi.consumer.options import (
    InvalidOptionError,
    checked_expiry,
    checked_priority,
)
from redispatcher_fastapi.consumer.unique import OnConflict, Unique, UniqueScope
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.job import Priority

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from pydantic import BaseModel

    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.sealing import Sealing

_LEVELS = {Priority.HIGH: "high", Priority.NORMAL: "", Priority.LOW: "low"}
_ACTIONS = {
    OnConflict.KEEP: "k",
    OnConflict.REPLACE: "r",
    OnConflict.DEBOUNCE: "p",
    OnConflict.RAISE: "x",
}
_NONE = Traits()


def traits_for(
    definition: ConsumerDefinition,
    message: BaseModel,
    *,
    priority: Priority | None = None,
    expires: timedelta | datetime | None = None,
    unique: Unique | None = None,
    delay: timedelta | None = None,
    at: datetime | None = None,
    sealing: Sealing | None = None,
) -> Traits | None:
    """Return what a message asks for by its consumer or by its options, which win.

    ``None`` for one that only runs in its turn, which then costs what it always did.

    Raises:
        InvalidOptionError: an option cannot be used, alone or with the others.
        ConfigurationError: ``unique`` cannot be had together with ``sealing``.
    """
    where = f"The publish to {definition.name}"
    lock = lock_name = ""
    if unique is None:
        unique = definition.unique
    else:
        check_unique(
            unique,
            definition.message_type,
            definition.partition_fields,
            where=where,
            error=InvalidOptionError,
        )
    if unique is not None:
        _check_together(unique, definition, sealing, where, is_put_off=bool(delay or at))
        lock = f"{_scope(unique)}:{_ACTIONS[unique.on_conflict]}"
        lock_name = lock_key(message, unique, sealing)
    chosen = definition.priority if priority is None else checked_priority(priority, where)
    if definition.limits.is_ordered and chosen is not definition.priority:
        raise InvalidOptionError(
            f"{where} has another priority than its consumer, whose jobs are Ordered: they could "
            "not start before others and keep their order. Leave the priority out."
        )
    traits = Traits(
        level=_LEVELS[chosen],
        partition=definition.partition_of(message, sealing),
        expiry=checked_expiry(definition, expires, delay, at, where),
        lock=lock,
        lock_key=lock_name,
    )
    return None if traits == _NONE else traits


def refuse_sealed_changes(unique: Unique | None, sealing: Sealing | None, where: str) -> None:
    """Refuse to have messages replaced that are sealed for the job they were published as.

    Raises:
        ConfigurationError: they would be.
    """
    if unique is not None and unique.changes_jobs and sealing is not None:
        raise ConfigurationError(
            f"{where} cannot have both `sealing` and on_conflict=OnConflict."
            f"{unique.on_conflict.name}: a message is sealed for the id of its own job, and could "
            "not be opened in the place of another's. Use OnConflict.KEEP or OnConflict.RAISE."
        )


def _check_together(
    unique: Unique,
    definition: ConsumerDefinition,
    sealing: Sealing | None,
    where: str,
    *,
    is_put_off: bool,
) -> None:
    refuse_sealed_changes(unique, sealing, where)
    if unique.on_conflict is OnConflict.DEBOUNCE and not is_put_off:
        raise InvalidOptionError(
            f"{where} is to be debounced, but starts at once: give it the `delay` after which it "
            "starts unless another one comes first."
        )


def _scope(unique: Unique) -> str:
    match unique.scope:
        case UniqueScope.WAITING:
            return "w"
        case UniqueScope.DONE:
            return "d"
        case window:
            return f"t{to_milliseconds(window)}"
