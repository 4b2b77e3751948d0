"""Which messages are the same: the key of the lock that lets there be one job for them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import RootModel
from pydantic_core import from_json

from redispatcher_fastapi.consumer.round_trip import is_a
from redispatcher_fastapi.consumer.unique import OnConflict, Unique

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel

    from redispatcher_fastapi.errors import RedispatcherError
    from redispatcher_fastapi.sealing import Sealing

_LENGTH = 32


def check_unique(
    unique: Any,
    message_type: type[BaseModel],
    partition_fields: Collection[str],
    *,
    where: str,
    error: type[RedispatcherError],
) -> None:
    """Refuse a rule by which these messages cannot be compared; raises ``error``."""
    if not isinstance(unique, Unique):
        raise error(
            f'{where} needs a Unique, as in Unique(fields=("order_id",)), not '
            f"{type(unique).__name__}."
        )
    known = message_type.model_fields
    for name in unique.fields or ():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            step = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}."
            raise error(
                f"{where} is to be unique by the field {name!r}, which "
                f"{message_type.__qualname__} does not have: {step}"
            )
        if known[name].exclude:
            raise error(
                f"{where} is to be unique by the field {name!r} of {message_type.__qualname__}, "
                "which is excluded from what is published."
            )
    if unique.changes_jobs and not unique.covers(partition_fields):
        raise error(
            f"{where} has OnConflict.{unique.on_conflict.name}, which could give a job the message "
            f"of another partition: name {', '.join(map(repr, partition_fields))} among the fields "
            "of its Unique, or use OnConflict.KEEP or OnConflict.RAISE."
        )


def refuse_debounced(unique: Unique | None, owner: str, error: type[RedispatcherError]) -> None:
    """Refuse schedules where nothing says by how much they would put a job off."""
    if unique is not None and unique.on_conflict is OnConflict.DEBOUNCE:
        raise error(
            f"{owner}: jobs of a schedule start at its ticks, and cannot be put off by "
            "OnConflict.DEBOUNCE: use OnConflict.REPLACE or OnConflict.KEEP."
        )


def lock_key(message: BaseModel, unique: Unique, sealing: Sealing | None) -> str:
    """Return the same text for messages that are the same in the fields of ``unique``.

    It tells nothing of an encrypted message to those who do not know the keys that sign.
    """
    is_whole = unique.fields is None or isinstance(message, RootModel)
    include: Any = None if is_whole else set(unique.fields or ())
    serializer = message.__pydantic_serializer__
    written = serializer.to_json(message, include=include, by_alias=True, round_trip=True)
    value: Any = from_json(written)
    if b"[" in written:
        plain = serializer.to_python(
            message, include=include, by_alias=True, round_trip=True, warnings=False
        )
        value = _sort_sets(plain, value)
    text = _write(value).encode()
    if sealing is not None and sealing.encrypts:
        return sealing.digest(text)[:_LENGTH]
    return sha256(text).hexdigest()[:_LENGTH]


def _write(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sort_sets(plain: Any, written: Any) -> Any:
    """Return what was written with its sets in order: each process writes them in its own."""
    if is_a(plain, (set, frozenset)) and is_a(written, list):
        return sorted(written, key=_write)
    if is_a(plain, dict) and is_a(written, dict) and len(plain) == len(written):
        pairs = zip(plain.values(), written.items(), strict=True)
        return {name: _sort_sets(inner, value) for inner, (name, value) in pairs}
    if is_a(plain, (list, tuple)) and is_a(written, list) and len(plain) == len(written):
        return [_sort_sets(*pair) for pair in zip(plain, written, strict=True)]
    return written
