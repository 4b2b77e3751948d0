"""To which partition a message belongs: the text of the fields that limits have as their key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from pydantic import BaseModel

from redispatcher_fastapi.consumer.encoding import MessageEncodingError
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.limits import ANY_KEY, read_limits

if TYPE_CHECKING:
    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.errors import RedispatcherError
    from redispatcher_fastapi.limits import LimitRules
    from redispatcher_fastapi.sealing import Sealing

_LONGEST = 96
_HASH_LENGTH = 32
_PLAIN = re.compile(r"[A-Za-z0-9:._@-]+")
#: Several values are joined by the colon, so none of them may have one.
_PLAIN_PART = re.compile(r"[A-Za-z0-9._@-]+")
_UNSTABLE = (float, complex, Decimal, bytes, bytearray, set, frozenset, list, dict, BaseModel)


def check_partition_fields(
    rules: LimitRules,
    message_type: type[BaseModel],
    *,
    where: str,
    error: type[RedispatcherError],
) -> None:
    """Refuse a key that is made of fields which these messages cannot be told apart by."""
    known = message_type.model_fields
    for name in rules.fields:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            step = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}."
            if name == ANY_KEY:
                step = f'"{ANY_KEY}" is only for Inspector.set_limits.'
            raise error(
                f"{where} has the key {name!r}, a field that {message_type.__qualname__} does not "
                f"have: {step}"
            )
        unstable = _find_unstable(known[name].annotation)
        if unstable is not None:
            raise error(
                f"{where} has the key {name!r}, but the {unstable} in that field of "
                f"{message_type.__qualname__} has no text that is always the same for the same "
                "value: use a field that is a str, an int, a bool, a UUID, an enum or a date."
            )


def check_own_limits(definition: ConsumerDefinition, limits: Any, where: str) -> LimitRules:
    """Return what limits mean that are to hold instead of those of a consumer.

    Raises:
        ConfigurationError: they are no limits, or such as only the class itself can have.
    """
    rules, own = read_limits(limits, where), definition.limits
    if rules.fields not in ((), (ANY_KEY,), own.fields) or (rules.fields and not own.fields):
        have = f"have the key {own.fields!r}" if own.fields else "have no key"
        raise ConfigurationError(
            f"{where} have the key {rules.fields!r}, but {definition.name}.LIMITS {have}: what "
            "publishes its messages goes by the class, so declare the key there, if only as "
            f"Fair(key={rules.fields[0]!r})."
        )
    if rules.is_ordered and not own.is_ordered:
        raise ConfigurationError(
            f"{where} are Ordered, but {definition.name}.LIMITS are not: what publishes its "
            "messages may give them priorities, which leave no order to keep. Declare it there."
        )
    return rules


def partition_key(
    message: BaseModel, fields: Sequence[str], consumer: str, sealing: Sealing | None
) -> str:
    """Return the same text for messages that have the same values in some fields.

    It is the values themselves where they are short and plain, and a hash otherwise. Of a message
    that is encrypted, it tells nothing to those who do not know the keys that sign.

    Raises:
        MessageEncodingError: one of the values has no text that is always the same.
    """
    return key_of([_read(message, name, consumer) for name in fields], sealing)


def key_of(values: Sequence[str | int | None], sealing: Sealing | None) -> str:
    """Return the partition that these values of the key's fields name."""
    if sealing is not None and sealing.encrypts:
        return sealing.digest(_write(values))[:_HASH_LENGTH]
    texts = [str(value).lower() if isinstance(value, bool) else value for value in values]
    pattern = _PLAIN if len(texts) == 1 else _PLAIN_PART
    texts = [str(text) if isinstance(text, int) else text for text in texts]
    if all(isinstance(text, str) and pattern.fullmatch(text) for text in texts):
        joined = ":".join(cast("list[str]", texts))
        if len(joined) <= _LONGEST:
            return joined
    return sha256(_write(values)).hexdigest()[:_HASH_LENGTH]


def _read(message: BaseModel, name: str, consumer: str) -> str | int | None:
    value: Any = getattr(message, name)
    if type(value) in (str, int):
        return cast("str | int", value)
    try:
        dumped: Mapping[str, Any] = message.__pydantic_serializer__.to_python(
            message, mode="json", include={name}, warnings=False
        )
        value = dumped[name]
    except Exception as error:
        raise MessageEncodingError(
            f"The field {name!r} of the message for {consumer} is a key of its limits, and cannot "
            f"be turned into text ({type(error).__name__})."
        ) from error
    if value is not None and not isinstance(value, (str, int)):
        raise MessageEncodingError(
            f"The field {name!r} of the message for {consumer} is a key of its limits, and must be "
            f"a text, a whole number or None, not {type(value).__name__}."
        )
    return value


def _write(values: Sequence[str | int | None]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _find_unstable(annotation: Any) -> str | None:
    """Return the name of a type in an annotation whose values have no stable text."""
    if annotation is Any:
        return "Any"
    origin = get_origin(annotation)
    if isinstance(annotation, type) and origin is None:
        named: type[object] = annotation
        is_unstable = issubclass(named, _UNSTABLE) or is_dataclass(named)
        return named.__name__ if is_unstable else None
    if isinstance(origin, type) and issubclass(origin, (Sequence, Mapping, set, frozenset)):
        return origin.__name__
    found = (_find_unstable(part) for part in get_args(annotation) if not isinstance(part, str))
    return next((name for name in found if name), None)
