"""Refuses consumer classes that could never work, naming the class and what to change."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast, get_origin

from pydantic import BaseModel

from redispatcher_fastapi.backoff import RetryPolicy
from redispatcher_fastapi.errors import ConsumerDefinitionError
from redispatcher_fastapi.keys import InvalidNameError, check_queue_name

if TYPE_CHECKING:
    from redispatcher_fastapi.consumer.base import BaseConsumer


def check_attributes(consumer: type[BaseConsumer], *, root: type[BaseConsumer]) -> None:
    """Refuse attributes that no consumer can have, also of a base without a ``QUEUE``."""
    name = consumer.__qualname__
    values: dict[str, Any] = {
        key: getattr(consumer, key) for key in ("RETRY", "TIMEOUT", "RESULT_TTL")
    }
    if not isinstance(values["RETRY"], RetryPolicy):
        raise ConsumerDefinitionError(
            f"{name}.RETRY must be a RetryPolicy, as in RETRY = RetryPolicy(max_attempts=3)."
        )
    if values["TIMEOUT"] is not None and not _is_positive(values["TIMEOUT"]):
        raise ConsumerDefinitionError(
            f"{name}.TIMEOUT must be a positive timedelta, or None for no limit."
        )
    if not _is_positive(values["RESULT_TTL"]):
        raise ConsumerDefinitionError(
            f"{name}.RESULT_TTL must be a positive timedelta, as in RESULT_TTL = "
            "timedelta(hours=1)."
        )
    around = inspect.getattr_static(consumer, "around")
    if not inspect.iscoroutinefunction(around):
        raise ConsumerDefinitionError(
            f"{name}.around must be `async def around(self, run, context)` and await run()."
        )
    is_classmethod = isinstance(inspect.getattr_static(consumer, "headers"), classmethod)
    if not is_classmethod or inspect.iscoroutinefunction(consumer.headers):
        raise ConsumerDefinitionError(
            f"{name}.headers must be a classmethod that is not async; it is called at every "
            "publish."
        )
    read_model(consumer, "Headers", root)


def read_queue(consumer: type[BaseConsumer]) -> str:
    queue: Any = consumer.QUEUE
    if not isinstance(queue, str):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__}.QUEUE must be a string, not {type(queue).__name__}."
        )
    try:
        return check_queue_name(queue)
    except InvalidNameError as error:
        raise ConsumerDefinitionError(f"{consumer.__qualname__}.QUEUE: {error}") from error


def read_model(
    consumer: type[BaseConsumer], attribute: str, root: type[BaseConsumer]
) -> type[BaseModel]:
    model: Any = getattr(consumer, attribute)
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__}.{attribute} must be a class that inherits from "
            f"{root.__name__}.{attribute}."
        )
    return model


def check_is_complete(consumer: type[BaseConsumer]) -> None:
    """Refuse a consumer that leaves an abstract method of its bases as it is."""
    for name in dir(consumer):
        member = inspect.getattr_static(consumer, name, None)
        if getattr(member, "__isabstractmethod__", False) is True:
            raise ConsumerDefinitionError(
                f"{consumer.__qualname__} has a QUEUE, but its {name} is still abstract: implement "
                "it, or leave the QUEUE to the subclasses that do."
            )


def check_owns_queue(consumer: type[BaseConsumer], parent: type[BaseConsumer] | None) -> None:
    """Refuse jobs that the consumer whose queue it is would take for its own."""
    if parent is None or "QUEUE" in vars(consumer) or consumer.QUEUE != parent.QUEUE:
        return
    for name in ("Message", "process_message"):
        if find_function(consumer, name) is not find_function(parent, name):
            raise ConsumerDefinitionError(
                f"{consumer.__qualname__} inherits the QUEUE {consumer.QUEUE!r} of "
                f"{parent.__qualname__}, but has another {name}: give it a QUEUE of its own, for "
                f"the jobs in that one are {parent.__qualname__}'s."
            )


def check_process_message(consumer: type[BaseConsumer], root: type[BaseConsumer]) -> bool:
    """Return whether ``process_message`` is asynchronous."""
    where = f"{consumer.__qualname__}.process_message"
    method: Any = inspect.getattr_static(consumer, "process_message")
    if method is find_function(root, "process_message"):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__} has a QUEUE but no process_message: add "
            "`async def process_message(self, message: Message) -> ...`."
        )
    if isinstance(method, (staticmethod, classmethod)) or not inspect.isroutine(method):
        kind = cast("object", method).__class__.__name__
        raise ConsumerDefinitionError(
            f"{where} must be a plain method, not a {kind}: "
            "`async def process_message(self, message: Message) -> ...`."
        )
    function = inspect.unwrap(method)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConsumerDefinitionError(
            f"{where} is a generator: it must return its result, not yield it. "
            "Set-up and clean-up with `yield` belong into a dependency."
        )
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(function)


def check_constructor(consumer: type[BaseConsumer]) -> None:
    with suppress(ValueError):  # no signature to be read
        try:
            inspect.signature(consumer).bind()
        except TypeError:
            name = consumer.__qualname__
            raise ConsumerDefinitionError(
                f"{name}.__init__ must work without arguments, for a new {name} is made for every "
                "attempt; let process_message ask for what it needs with Depends."
            ) from None


def check_returns(consumer: type[BaseConsumer], annotation: Any, *, is_async: bool) -> None:
    """Refuse a synchronous ``process_message`` that returns what nobody would await."""
    origin = get_origin(annotation) or annotation
    if not is_async and isinstance(origin, type) and issubclass(origin, Awaitable):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__}.process_message is declared to return an awaitable: make it "
            "`async def` with the type of the result."
        )


def find_function(consumer: type[BaseConsumer], attribute: str) -> Any:
    found = inspect.getattr_static(consumer, attribute)
    return getattr(found, "__func__", found)


def _is_positive(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta()
