"""Turns what a consumer depends on into a flat list of steps, each solved at most once."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool

from redispatcher_fastapi.errors import ConsumerDefinitionError
from redispatcher_fastapi.injection.parameters import Dependency, Needs, has_signature, read_needs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class Kind(Enum):
    """How a dependency is called, as FastAPI decides it."""

    COROUTINE = auto()
    THREAD = auto()
    CONTEXT_MANAGER = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """One call; ``arguments`` name the earlier steps whose values it is given."""

    call: Callable[..., Any]
    kind: Kind
    arguments: tuple[tuple[str, int], ...]
    connections: tuple[str, ...]
    reader: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one run in order, and which of their values the consumer is given."""

    steps: tuple[Step, ...]
    arguments: tuple[tuple[str, int], ...]
    has_cleanup: bool
    has_connection: bool


class Compiler:
    """Builds the plan of one consumer.

    The order and the cache are FastAPI's: depth first, in the order of the parameters, one call
    for equal callables unless ``use_cache=False``. Since all of it is known beforehand, a run has
    neither a tree nor a cache.
    """

    def __init__(
        self,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]],
        check_connection: Callable[[Callable[..., Any], str], None],
    ) -> None:
        self._overrides = overrides
        self._check_connection = check_connection
        self._steps: list[Step] = []
        self._made: dict[Callable[..., Any], int] = {}

    def compile(
        self,
        call: Callable[..., Any],
        *,
        parameters: Collection[str],
        namespace: Mapping[str, Any],
        label: str,
    ) -> Plan:
        needs = read_needs(call, where=label, only=parameters, namespace=namespace)
        arguments = self._resolve(needs, path=(), label=label)
        steps = tuple(self._steps)
        return Plan(
            steps,
            arguments,
            has_cleanup=any(step.kind is Kind.CONTEXT_MANAGER for step in steps),
            has_connection=any(step.connections for step in steps),
        )

    def _resolve(
        self, needs: Needs, *, path: tuple[Callable[..., Any], ...], label: str
    ) -> tuple[tuple[str, int], ...]:
        return tuple(
            (name, self._add(dependency, path=path, label=label, parameter=name))
            for name, dependency in needs.dependencies.items()
        )

    def _add(
        self,
        dependency: Dependency,
        *,
        path: tuple[Callable[..., Any], ...],
        label: str,
        parameter: str,
    ) -> int:
        """Return the index of the step that makes the value of a parameter."""
        wanted = dependency.call
        if dependency.use_cache and wanted in self._made:
            return self._made[wanted]
        call = self._overrides.get(wanted, wanted)
        reader = _name_of(call)
        if not has_signature(call):
            raise ConsumerDefinitionError(
                f"{label}: parameter {parameter!r} depends on {reader}, which does not tell its "
                "parameters: name a function in `Depends(...)` that makes the value."
            )
        label = f"{label} -> {reader}"
        if wanted in path:
            raise ConsumerDefinitionError(f"{label}: a dependency must not depend on itself.")
        needs = read_needs(call, where=label)
        if needs.connections:
            self._check_connection(call, label)
        arguments = self._resolve(needs, path=(*path, wanted), label=label)
        kind, call = _prepare(call)
        self._steps.append(Step(call, kind, arguments, needs.connections, reader))
        self._made.setdefault(wanted, len(self._steps) - 1)
        return len(self._steps) - 1


def _prepare(call: Callable[..., Any]) -> tuple[Kind, Callable[..., Any]]:
    """Return how to call ``call``, and with what: every step is called with keywords only."""
    if _is_any(call, inspect.isasyncgenfunction):
        return Kind.CONTEXT_MANAGER, asynccontextmanager(call)
    if _is_any(call, inspect.isgeneratorfunction):
        return Kind.CONTEXT_MANAGER, _in_threadpool(contextmanager(call))
    if _is_any(call, inspect.iscoroutinefunction):
        return Kind.COROUTINE, call
    return Kind.THREAD, partial(run_in_threadpool, call)


def _in_threadpool(make: Callable[..., Any]) -> Callable[..., Any]:
    def open_in_threadpool(**arguments: Any) -> Any:
        return contextmanager_in_threadpool(make(**arguments))

    return open_in_threadpool


def _is_any(call: Callable[..., Any], matches: Callable[[Any], bool]) -> bool:
    """Return whether ``call`` matches, looking through partials, decorators and ``__call__``."""
    bare = _unwrap(call)
    if matches(call) or matches(bare):
        return True
    if inspect.isclass(bare):
        return False
    return matches(_unwrap(getattr(bare, "__call__", None)))  # noqa: B004


def _unwrap(call: Any) -> Any:
    while isinstance(call, partial):
        call = call.func
    return inspect.unwrap(call)


def _name_of(call: Callable[..., Any]) -> str:
    bare = _unwrap(call)
    name = getattr(bare, "__qualname__", None)
    return f"{name.rpartition('<locals>.')[2]}()" if name else repr(bare)
