"""Finds what would be written to Redis and not be read back as it was."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, AliasPath, BaseModel, EmailStr, Secret, SecretBytes, SecretStr
from pydantic_core import from_json

from redispatcher_fastapi.consumer.reachable import has_fields, reachable_types
from redispatcher_fastapi.errors import ConsumerDefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_MASKED = b'"**********"'
_NULL = b"null"
#: As long as nothing is known of the types.
ALL_MARKS = (_MASKED, _NULL)
_SECRETS = (Secret, SecretBytes, SecretStr)
_HARMLESS: tuple[Any, ...] = (
    *(int, str, bytes, type(None), Decimal, Enum, UUID, EmailStr),
    *(date, time, timedelta),
)


@dataclass(frozen=True, slots=True)
class Loss:
    """One value that JSON has no form for, and where it stands."""

    place: str
    kind: Literal["secret", "number"]


def check_round_trip(annotation: Any, consumer: str) -> None:
    """Refuse a type with fields that would be written in a way that is not read.

    Raises:
        ConsumerDefinitionError: naming the field.
    """
    for kind in reachable_types(annotation):
        fields: dict[str, FieldInfo] | None = _fields_of(kind)
        if fields is None or (kind is not annotation and _has_its_own_ways(kind)):
            continue
        config: dict[str, Any] = getattr(kind, "model_config", None) or getattr(
            kind, "__pydantic_config__", {}
        )
        for name, field in fields.items():
            _check_field(name, field, config, where=f"{consumer}: the field {name!r} of", of=kind)


def loss_marks(annotation: Any) -> tuple[bytes, ...]:
    """Return what JSON has in the place of a lost value; none for a type that loses nothing."""
    kinds = [kind for kind in reachable_types(annotation) if not has_fields(kind)]
    classes = [kind for kind in kinds if inspect.isclass(kind)]
    is_known = len(classes) == len(kinds) and all(
        issubclass(kind, (*_SECRETS, *_HARMLESS, float)) for kind in classes
    )
    holds_secrets = any(issubclass(kind, _SECRETS) for kind in classes)
    holds_floats = any(issubclass(kind, float) for kind in classes)
    marks = ((_MASKED, holds_secrets or not is_known), (_NULL, holds_floats or not is_known))
    return tuple(mark for mark, is_possible in marks if is_possible)


def find_loss(value: Any, written: bytes) -> Loss | None:
    """Return the first loss; ``value`` is what was written, as plain Python."""
    if not _is_suspicious(value):
        return None
    return next(_compare(value, from_json(written), ()), None)


def _is_suspicious(value: Any) -> bool:
    """Whether something is in there that JSON may have no form for; quick, as most have not."""
    if value is None or type(value) in (str, int):
        return False
    if type(value) is float:
        return not math.isfinite(value)
    if is_a(value, (str, bytes)):
        return False
    if is_a(value, Collection):
        return any(map(_is_suspicious, value.values() if is_a(value, Mapping) else value))
    return isinstance(value, (float, *_SECRETS))


def _compare(value: Any, written: Any, place: tuple[Any, ...]) -> Iterator[Loss]:
    # A serializer of the user's may write another structure, which is then nobody's loss.
    if isinstance(value, _SECRETS):
        if isinstance(written, str) and written and not written.strip("*"):
            yield Loss(".".join(map(str, place)), "secret")
    elif isinstance(value, float):
        if written is None and not math.isfinite(value):
            yield Loss(".".join(map(str, place)), "number")
    elif is_a(value, Mapping) and is_a(written, dict) and len(value) == len(written):
        for inner, (name, inner_written) in zip(value.values(), written.items(), strict=True):
            yield from _compare(inner, inner_written, (*place, name))
    elif is_a(value, Collection) and is_a(written, list) and len(value) == len(written):
        for index, (inner, inner_written) in enumerate(zip(value, written, strict=True)):
            yield from _compare(inner, inner_written, (*place, index))


def is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Do what ``isinstance`` does without a type checker drawing conclusions from it."""
    return isinstance(value, kind)


def _fields_of(kind: Any) -> dict[str, FieldInfo] | None:
    if not inspect.isclass(kind):
        return None
    if issubclass(kind, BaseModel):
        return kind.model_fields
    return getattr(kind, "__pydantic_fields__", None)  # a dataclass of pydantic's


def _has_its_own_ways(kind: Any) -> bool:
    """Whether the class itself writes its fields, or turns what is read into them."""
    decorators = kind.__pydantic_decorators__
    return bool(decorators.model_serializers) or any(
        validator.info.mode != "after" for validator in decorators.model_validators.values()
    )


def _check_field(
    name: str, field: FieldInfo, config: Mapping[str, Any], *, where: str, of: type[Any]
) -> None:
    takes_names = config.get("populate_by_name", False) or config.get("validate_by_name", False)
    takes_aliases = config.get("validate_by_alias", True)
    written = field.serialization_alias or name
    accepted = (_aliases(field) or {name}) if takes_aliases else set[str]()
    if takes_names:
        accepted.add(name)
    if written not in accepted:
        step = (
            "give it one `alias` for both"
            if takes_aliases
            else "leave validate_by_alias=False out of its model_config"
        )
        raise ConsumerDefinitionError(
            f"{where} {of.__qualname__} is written as {written!r} but read as "
            f"{' or '.join(map(repr, sorted(accepted)))}; {step}."
        )
    if field.exclude and field.is_required():
        raise ConsumerDefinitionError(
            f"{where} {of.__qualname__} is required but excluded from what is written; give it "
            "a default or include it."
        )


def _aliases(field: FieldInfo) -> set[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    names = (
        choice.path[0] if isinstance(choice, AliasPath) and len(choice.path) == 1 else choice
        for choice in choices
    )
    return {name for name in names if isinstance(name, str)}
