"""Walks through everything that a type is made of."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where the generic types are from that consist of their parameters and nothing else.
_CONTAINERS = frozenset({"builtins", "collections", "collections.abc", "types", "typing"})


def reachable_types(annotation: Any) -> Iterator[Any]:
    """Yield what values of a type can consist of, each once: models and the types of their fields.

    Looks into unions, containers, aliases, models, dataclasses, typed dicts and named tuples. A
    name that is not defined yet comes as it is written; ``Any`` stands for what cannot be known.
    """
    # By identity, since not every annotation can be hashed; kept, so that no id is used twice.
    seen: dict[int, Any] = {}
    pending = [annotation]
    while pending:
        found = pending.pop()
        if id(found) in seen:
            continue
        seen[id(found)] = found
        origin = get_origin(found)
        if origin is Annotated:
            pending.append(get_args(found)[0])
        elif origin is Literal:
            pending += [type(value) for value in get_args(found)]
        elif origin is not None:
            pending += get_args(found)
            if getattr(origin, "__module__", "typing") not in _CONTAINERS:
                pending.append(origin)
        elif hasattr(found, "__value__"):  # an alias made with `type X = ...`
            pending.append(found.__value__)
        else:
            yield found
            if inspect.isclass(found):
                pending += _field_types(found)


def has_fields(kind: Any) -> bool:
    """Whether a type says itself what its values consist of."""
    return inspect.isclass(kind) and (
        issubclass(kind, BaseModel)
        or is_dataclass(kind)
        or is_typeddict(kind)
        or hasattr(kind, "_fields")  # a named tuple
    )


def _field_types(kind: type[Any]) -> list[Any]:
    if issubclass(kind, BaseModel):
        extra = [Any] if kind.model_config.get("extra") == "allow" else []
        return [field.annotation for field in kind.model_fields.values()] + extra
    if not has_fields(kind):
        return []
    try:
        return [*get_type_hints(kind, include_extras=True).values()]
    except Exception:  # an annotation may be any expression, with names that are not there (yet)
        return [Any]
