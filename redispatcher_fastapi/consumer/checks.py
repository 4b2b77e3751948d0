"""Refuses consumer classes that could never work, naming the class and what to change."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast, get_origin

from pydantic import BaseModel

from redispatcher_fastapi.backoff import RetryPolicy
from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.consumer.batch import Batch
from redispatcher_fastapi.consumer.batch_items import is_of_items
from redispatcher_fastapi.consumer.partition import check_partition_fields
from redispatcher_fastapi.consumer.unique import Unique
from redispatcher_fastapi.errors import (
    ConfigurationError,
    ConsumerDefinitionError,
    InvalidScheduleError,
)
from redispatcher_fastapi.job import Priority
from redispatcher_fastapi.keys import InvalidNameError, check_queue_name
from redispatcher_fastapi.limits import read_limits
from redispatcher_fastapi.schedules import check_schedules
from redispatcher_fastapi.spelling import find_meant

if TYPE_CHECKING:
    from redispatcher_fastapi.consumer.base import BaseConsumer
    from redispatcher_fastapi.limits import LimitRules
    from redispatcher_fastapi.schedules import Schedule


_OWN_MODULES = "redispatcher_fastapi."
#: What other libraries call it, and nobody would miss before it is too late.
_FOREIGN_OPTIONS = {
    "MAX_RETRIES": "RETRY = RetryPolicy(max_attempts=...)",
    "MAX_ATTEMPTS": "RETRY = RetryPolicy(max_attempts=...)",
    "BACKOFF": "RETRY = RetryPolicy(...)",
    "TIME_LIMIT": "TIMEOUT",
    "RATE_LIMIT": "LIMITS = [RateLimit(...)]",
    "CONCURRENCY": "LIMITS = [Concurrency(...)]",
    "CRON": "SCHEDULES = [Schedule(...)]",
}
_METHODS = {
    "process_message": "process_message(self, message: Message) -> ...",
    "process_batch": "process_batch(self, items: Sequence[BatchItem[Message]]) -> None",
}


def check_attributes(consumer: type[BaseConsumer], *, root: type[BaseConsumer]) -> None:
    """Refuse attributes that no consumer can have, also of a base without a ``QUEUE``."""
    name = consumer.__qualname__
    _check_spelling(consumer)
    values: dict[str, Any] = {
        key: getattr(consumer, key)
        for key in ("RETRY", "TIMEOUT", "RESULT_TTL", "PRIORITY", "UNIQUE", "EXPIRES")
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
    if not isinstance(values["PRIORITY"], Priority):
        raise ConsumerDefinitionError(
            f"{name}.PRIORITY must be one of "
            f"{', '.join(f'Priority.{each.name}' for each in Priority)}."
        )
    if values["UNIQUE"] is not None and not isinstance(values["UNIQUE"], Unique):
        raise ConsumerDefinitionError(
            f'{name}.UNIQUE must be a Unique, as in UNIQUE = Unique(fields=("order_id",)), or None.'
        )
    expires = values["EXPIRES"]
    if expires is not None and not (_is_positive(expires) and expires <= LONGEST_DELAY):
        raise ConsumerDefinitionError(
            f"{name}.EXPIRES must be a positive timedelta of up to 100 years, or None for never."
        )
    read_schedules(consumer, None)
    check_limits(consumer, None)
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


def _check_spelling(consumer: type[BaseConsumer]) -> None:
    known = [
        key
        for base in consumer.__mro__
        if base.__module__.startswith(_OWN_MODULES)
        for key in inspect.get_annotations(base)
        if key.isupper()
    ]
    for key, value in vars(consumer).items():
        meant = _FOREIGN_OPTIONS.get(key) or (find_meant(key, known) if key.isupper() else None)
        if key.islower() and key.upper() in known and not hasattr(value, "__get__"):
            meant = key.upper()  # methods and properties of that name are the consumer's own
        if meant is not None:
            raise ConsumerDefinitionError(
                f"{consumer.__qualname__}.{key} has no effect: most likely {meant} is meant. "
                "If it is something of your own, let its name begin with an underscore."
            )


def read_schedules(
    consumer: type[BaseConsumer], message_type: type[BaseModel] | None
) -> tuple[Schedule, ...]:
    name = consumer.__qualname__
    try:
        return check_schedules(
            consumer.SCHEDULES, owner=f"{name}.SCHEDULES", message_type=message_type
        )
    except InvalidScheduleError as error:
        raise ConsumerDefinitionError(str(error)) from error


def check_limits(consumer: type[BaseConsumer], message_type: type[BaseModel] | None) -> LimitRules:
    """Return what the limits mean; without a Message, their keys are not looked at."""
    where = f"{consumer.__qualname__}.LIMITS"
    try:
        rules = read_limits(consumer.LIMITS, where)
    except ConfigurationError as error:
        raise ConsumerDefinitionError(str(error)) from error
    if message_type is not None:
        check_partition_fields(rules, message_type, where=where, error=ConsumerDefinitionError)
    return rules


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
    for name in ("Message", consumer.__redispatcher_method__):
        if find_function(consumer, name) is not find_function(parent, name):
            raise ConsumerDefinitionError(
                f"{consumer.__qualname__} inherits the QUEUE {consumer.QUEUE!r} of "
                f"{parent.__qualname__}, but has another {name}: give it a QUEUE of its own, for "
                f"the jobs in that one are {parent.__qualname__}'s."
            )


def check_method(consumer: type[BaseConsumer]) -> bool:
    """Return whether the method that does the work is asynchronous."""
    name = consumer.__redispatcher_method__
    shown = f"`async def {_METHODS[name]}`"
    where = f"{consumer.__qualname__}.{name}"
    method: Any = inspect.getattr_static(consumer, name)
    if method is find_function(_root_of(consumer), name):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__} has a QUEUE but no {name}: add {shown}."
        )
    if isinstance(method, (staticmethod, classmethod)) or not inspect.isroutine(method):
        kind = cast("object", method).__class__.__name__
        raise ConsumerDefinitionError(f"{where} must be a plain method, not a {kind}: {shown}.")
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
    if is_of_items(consumer):
        return
    origin = get_origin(annotation) or annotation
    if not is_async and isinstance(origin, type) and issubclass(origin, Awaitable):
        raise ConsumerDefinitionError(
            f"{consumer.__qualname__}.process_message is declared to return an awaitable: make it "
            "`async def` with the type of the result."
        )


def check_batch(consumer: type[BaseConsumer]) -> Batch | None:
    """Return how the batches of a consumer are made up, ``None`` for one without any."""
    name, batch = consumer.__qualname__, getattr(consumer, "BATCH", None)
    if not is_of_items(consumer):
        if isinstance(batch, Batch):
            raise ConsumerDefinitionError(
                f"{name} has a BATCH, but takes one message at a time: let it inherit from "
                "BatchConsumer and have a process_batch."
            )
        return None
    root = _root_of(consumer)
    if not isinstance(batch, Batch):
        raise ConsumerDefinitionError(
            f"{name}.BATCH must be a Batch, as in BATCH = Batch(size=100, "
            "linger=timedelta(seconds=1))."
        )
    if find_function(consumer, "process_message") is not find_function(root, "process_message"):
        raise ConsumerDefinitionError(
            f"{name} takes batches, so its process_message would never be called: leave it out, or "
            "inherit from BaseConsumer and leave out the BATCH."
        )
    if find_function(consumer, "around") is not find_function(root, "around"):
        raise ConsumerDefinitionError(
            f"{name} takes batches, so its around, which wraps a single job, would never be "
            "called: override `async def around_batch(self, run, items)` instead."
        )
    if not inspect.iscoroutinefunction(inspect.getattr_static(consumer, "around_batch")):
        raise ConsumerDefinitionError(
            f"{name}.around_batch must be `async def around_batch(self, run, items)` and await "
            "run()."
        )
    return batch


def has_own_around(consumer: type[BaseConsumer]) -> bool:
    """Whether something is done before and after each run."""
    name = "around_batch" if is_of_items(consumer) else "around"
    return find_function(consumer, name) is not find_function(_root_of(consumer), name)


def _root_of(consumer: type[BaseConsumer]) -> type[BaseConsumer]:
    """Return the library's own class that a consumer inherits from."""
    return next(base for base in consumer.__mro__ if "__redispatcher_method__" in vars(base))


def find_function(consumer: type[BaseConsumer], attribute: str) -> Any:
    found = inspect.getattr_static(consumer, attribute)
    return getattr(found, "__func__", found)


def _is_positive(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta()
