"""Reads the annotation of what a ``process_batch`` is given."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

from redispatcher_fastapi.consumer.batch import BatchItem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispatcher_fastapi.consumer.base import BaseConsumer

#: A module needs these two for its annotations only, and may import them for type checkers alone.
ITEM_NAMES: Mapping[str, Any] = MappingProxyType({"Sequence": Sequence, "BatchItem": BatchItem})


class ItemTypes(NamedTuple):
    """The message and the result of ``BatchItem[message, result]``."""

    message: Any
    result: Any


def is_of_items(consumer: type[BaseConsumer]) -> bool:
    """Whether a consumer takes items instead of one message."""
    return consumer.__redispatcher_method__ == "process_batch"


def read_item_types(annotation: Any) -> ItemTypes | None:
    """Return the types that ``Sequence[BatchItem[...]]`` names; ``None`` if it is anything else.

    Whatever a sequence can be given for will do. An item says nothing of its result where there is
    none; without any types, it may be of all.
    """
    while hasattr(annotation, "__value__"):  # an alias made with `type X = ...`
        annotation = annotation.__value__
    if annotation is Any:
        return ItemTypes(Any, Any)
    container, *arguments = get_origin(annotation), *get_args(annotation)
    if not isinstance(container, type) or not issubclass(Sequence, container):
        return None
    (item,) = arguments if len(arguments) == 1 else (None,)
    if item is BatchItem:
        return ItemTypes(Any, Any)
    if get_origin(item) is not BatchItem:
        return None
    message, result = (*get_args(item), None)[:2]
    return ItemTypes(message, result)
