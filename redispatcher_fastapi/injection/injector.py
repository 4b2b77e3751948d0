"""Opens what a consumer depends on before a run, and closes it before the job is settled."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, current_time, get_cancelled_exc_class

from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.errors import RequestOnlyDependencyError
from redispatcher_fastapi.injection.connection import RunConnection
from redispatcher_fastapi.injection.plan import Compiler, Kind, Plan
from redispatcher_fastapi.publisher import STATE_KEY, PublisherAlias, Publishers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from types import TracebackType

    from fastapi import FastAPI

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.config import RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition

logger = logging.getLogger("redispatcher.injection")


class Injector:
    """Gives consumers what they ask for with ``Depends``, as the application would.

    ``state`` is what the application's lifespan yielded. ``app.dependency_overrides`` count at
    the time of each run; ``overrides`` are further ones that win over them. After a cancellation,
    dependencies with ``yield`` have ``closing_limit`` to close.
    """

    def __init__(
        self,
        app: FastAPI | None,
        state: Mapping[str, Any] | None,
        *,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
        closing_limit: timedelta = timedelta(seconds=5),
    ) -> None:
        self.app = app
        self.state = dict(state or {})
        self.closing_limit = closing_limit
        self._overrides = dict(overrides or {})

    @classmethod
    @asynccontextmanager
    async def without_app(
        cls, broker: Broker, config: RedispatcherConfig
    ) -> AsyncGenerator[Injector, None]:
        """Provide the injector of a pool without an application; its consumers may publish."""
        async with Sender(broker) as sender:
            publishers = Publishers(
                sender,
                max_message_bytes=config.max_message_bytes,
                sealing=config.sealing,
                outbox=config.outbox,
            )
            yield cls(None, {STATE_KEY: publishers})

    def plan(self, definition: ConsumerDefinition) -> Dependencies | None:
        """Return the consumer's dependencies, or ``None`` when it has none.

        Raises:
            RequestOnlyDependencyError: something in the tree needs an HTTP request, or an
                application where there is none.
            ConsumerDefinitionError: a dependency cannot be called, or depends on itself.
        """
        return Dependencies(self, definition) if definition.dependency_parameters else None

    def compile(self, definition: ConsumerDefinition) -> Plan:
        """Return the plan under the overrides of this moment."""
        consumer = definition.consumer
        namespace = {
            name: value for base in reversed(consumer.__mro__) for name, value in vars(base).items()
        }
        return Compiler({**self.app_overrides, **self._overrides}, self._check_connection).compile(
            getattr(consumer, definition.method),
            parameters=definition.dependency_parameters,
            namespace=namespace,
            label=definition.name,
        )

    @property
    def app_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        return {} if self.app is None else self.app.dependency_overrides

    def _check_connection(self, call: Callable[..., Any], label: str) -> None:
        # A publisher reads the state only, so it also works in a pool that has no application.
        if self.app is not None or (isinstance(call, PublisherAlias) and STATE_KEY in self.state):
            return
        raise RequestOnlyDependencyError(
            f"{label} needs the FastAPI application, and this pool has none: give the pool an app "
            "(`redispatcher pool module:app`)."
        )


class Dependencies:
    """What one consumer depends on, ready to be opened for a run."""

    def __init__(self, injector: Injector, definition: ConsumerDefinition) -> None:
        self._injector = injector
        self._definition = definition
        self._seen = dict(injector.app_overrides)
        self._plan = injector.compile(definition)

    def open(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Return a context manager that yields the keyword arguments of one run.

        An exception of the run reaches every dependency with ``yield``, and stands even when one
        of them swallows it; what their clean-up raises takes its place.
        """
        overrides = self._injector.app_overrides
        if overrides != self._seen:
            self._plan = self._injector.compile(self._definition)
            self._seen = dict(overrides)
        return _Run(self._plan, self._injector)


class _Run(AbstractAsyncContextManager[dict[str, Any]]):
    __slots__ = ("_injector", "_opened", "_plan", "_scope")

    def __init__(self, plan: Plan, injector: Injector) -> None:
        self._plan = plan
        self._injector = injector
        self._opened: list[AbstractAsyncContextManager[Any]] = []
        self._scope: CancelScope | None = None

    async def __aenter__(self) -> dict[str, Any]:
        if not self._plan.has_cleanup:
            return await self._solve()
        # Outside of whatever scopes the dependencies hold open themselves, so that closing can
        # be shielded and scopes still end in reverse order.
        self._scope = CancelScope()
        self._scope.__enter__()
        try:
            return await self._solve()
        except BaseException as error:
            await self._close(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._scope is not None:
            await self._close(error)

    async def _solve(self) -> dict[str, Any]:
        plan = self._plan
        app = self._injector.app
        state = dict(self._injector.state) if plan.has_connection else {}
        values: list[Any] = []
        for step in plan.steps:
            arguments = {name: values[index] for name, index in step.arguments}
            for name in step.connections:
                arguments[name] = RunConnection(app, state, reader=step.reader)
            if step.kind is Kind.CONTEXT_MANAGER:
                manager = step.call(**arguments)
                values.append(await manager.__aenter__())
                self._opened.append(manager)
            else:
                values.append(await step.call(**arguments))
        return {name: values[index] for name, index in plan.arguments}

    async def _close(self, failure: BaseException | None) -> None:
        """Close in reverse order; raise what the clean-up raised, if it did.

        Not an ``AsyncExitStack``: there, one dependency that swallows the failure hides it from
        those opened before it, and a session that commits on success would commit.
        """
        assert self._scope is not None
        limit = self._injector.closing_limit
        error = failure
        if isinstance(failure, get_cancelled_exc_class()):
            # A cancelled run still has to roll back, which takes awaiting.
            self._scope.shield = True
            self._scope.deadline = current_time() + limit.total_seconds()
        while self._opened:
            manager = self._opened.pop()
            try:
                await manager.__aexit__(*_details(error))
            except BaseException as raised:  # whatever it is, it is raised below
                error = raised
        self._scope.__exit__(*_details(error))
        if self._scope.cancel_called:
            logger.error("Dependencies did not close within %s after cancellation.", limit)
            return
        if error is not None and error is not failure:
            # Raised here, where `failure` is being handled, it would lose what it came from.
            context = error.__context__
            try:
                raise error
            finally:
                error.__context__ = context


def _details(
    error: BaseException | None,
) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)
