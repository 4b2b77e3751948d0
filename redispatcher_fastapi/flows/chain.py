"""Consumers that run one after the other, each with what the one before returns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.consumer import Consumes, ConsumesBatch, ConsumesSync, definition_of
from redispatcher_fastapi.consumer.options import checked_priority
from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.job import Priority

M = TypeVar("M")
R = TypeVar("R")
N = TypeVar("N")

#: More steps than this are a loop, or belong into one consumer.
MOST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Link:
    """One consumer of a chain, and how its job is published."""

    definition: ConsumerDefinition
    delay: timedelta | None = None
    priority: Priority | None = None
    expires: timedelta | None = None


class StepOptions(TypedDict, total=False):
    """What ``then`` takes besides the consumer."""

    delay: timedelta | None
    priority: Priority | None
    expires: timedelta | None


class Chain(Generic[M, R]):
    """Consumers that run one after the other; made with :func:`chain`, and never changed.

    ``M`` is the message of the first, ``R`` what the last returns.
    """

    __slots__ = ("links",)

    def __init__(self, links: tuple[Link, ...]) -> None:
        self.links = links

    @overload
    def then(
        self,
        consumer: type[Consumes[R, N]],
        **options: Unpack[StepOptions],
    ) -> Chain[M, N]: ...
    @overload
    def then(
        self,
        consumer: type[ConsumesSync[R, N]],
        **options: Unpack[StepOptions],
    ) -> Chain[M, N]: ...
    @overload
    def then(
        self,
        consumer: type[ConsumesBatch[R, N]],
        **options: Unpack[StepOptions],
    ) -> Chain[M, N]: ...
    def then(
        self,
        consumer: Any,
        *,
        delay: timedelta | None = None,
        priority: Priority | None = None,
        expires: timedelta | None = None,
    ) -> Chain[M, Any]:
        """Return the chain with one more consumer, which takes what the last one returns.

        ``delay`` begins when the step before has succeeded, ``expires`` as well.

        Raises:
            ConfigurationError: the last consumer returns something else than this one's message,
                or this one cannot be a step.
        """
        before, definition = self.links[-1].definition, definition_of(consumer)
        _check_step(definition)
        _check_fit(before, definition)
        if len(self.links) == MOST_STEPS:
            raise ConfigurationError(f"A chain has at most {MOST_STEPS} steps.")
        where = f"The step {definition.name} of a chain"
        if priority is not None:
            checked_priority(priority, where)
        for name, value in (("delay", delay), ("expires", expires)):
            _check_duration(where, name, value)
        if delay is not None and expires is not None and delay >= expires:
            raise ConfigurationError(f"{where} would expire before it starts.")
        return Chain((*self.links, Link(definition, delay, priority, expires)))

    def __repr__(self) -> str:
        return f"Chain({' -> '.join(link.definition.name for link in self.links)})"


@overload
def chain(consumer: type[Consumes[M, R]], /) -> Chain[M, R]: ...
@overload
def chain(consumer: type[ConsumesSync[M, R]], /) -> Chain[M, R]: ...
@overload
def chain(consumer: type[ConsumesBatch[M, R]], /) -> Chain[M, R]: ...
def chain(consumer: Any, /) -> Chain[Any, Any]:
    """Return the beginning of a chain: ``chain(Fetch).then(Resize).then(Upload)``.

    Raises:
        ConfigurationError: the consumer cannot be a step of a chain.
    """
    definition = definition_of(consumer)
    _check_step(definition)
    return Chain((Link(definition),))


def _check_step(definition: ConsumerDefinition) -> None:
    if definition.unique is not None:
        raise ConfigurationError(
            f"{definition.name} cannot be a step of a chain: its jobs are UNIQUE, and where one is "
            "there already, the chain would end there. Give its work to a consumer without."
        )


def _check_fit(before: ConsumerDefinition, after: ConsumerDefinition) -> None:
    returned: Any = before.result_type
    if get_origin(returned) is Annotated:
        returned = get_args(returned)[0]
    if isinstance(returned, str) or returned in (Any, inspect.Signature.empty):
        return  # nobody knows yet; the consumer will, when it is given it
    if not isinstance(returned, type) or not issubclass(returned, after.message_type):
        name: Any = getattr(before.result_type, "__qualname__", before.result_type)
        raise ConfigurationError(
            f"{after.name} cannot follow {before.name}, which returns {name!s:.80} and not "
            f"{after.message_type.__qualname__}: let it return the message of what follows."
        )


def _check_duration(where: str, name: str, value: Any) -> None:
    if value is None:
        return
    least = timedelta(milliseconds=1) if name == "expires" else timedelta()
    if not isinstance(value, timedelta) or not least <= value <= LONGEST_DELAY:
        raise ConfigurationError(
            f"{where} needs a timedelta of up to 100 years as `{name}`, as in timedelta(minutes=5)."
        )
