"""``RedispatcherTester``: the background work of an application in a test, without Redis."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from redispatcher_fastapi.consumer import (
    BaseConsumer,
    Consumes,
    ConsumesSync,
    definition_of,
)
from redispatcher_fastapi.errors import NotRunningError
from redispatcher_fastapi.testing.batch_runs import BatchRuns
from redispatcher_fastapi.testing.clock import FakeClock
from redispatcher_fastapi.testing.outcomes import conclude
from redispatcher_fastapi.testing.publications import Publications
from redispatcher_fastapi.testing.report import FailedRunsError
from redispatcher_fastapi.testing.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from fastapi import FastAPI
    from pydantic import BaseModel

    from redispatcher_fastapi.consumer import AsyncRedisClient
    from redispatcher_fastapi.dispatcher import Redispatcher
    from redispatcher_fastapi.testing.report import JobRun, RunReport

    Errors = type[BaseException] | tuple[type[BaseException], ...]
    Overrides = Mapping[Callable[..., Any], Callable[..., Any]]

M = TypeVar("M")
R = TypeVar("R")

_LIMIT = 1000


class RedispatcherTester(Publications, BatchRuns):
    """Puts a store in memory in the place of a dispatcher's Redis, for one test.

    Used as a context manager, ``with`` or ``async with``, and entered before the application's
    lifespan starts, that is outside of ``TestClient``. Meanwhile whatever is published through
    the dispatcher is kept here, no pool runs, and nothing connects to the configured Redis. Jobs
    run when the test says so, one after another, and time stands still until the test moves it.

    With ``app``, its endpoints publish even if a test never runs its lifespan. ``consumers`` are
    those that :meth:`run_until_idle` runs, by default those of the dispatcher's configuration.
    The clock starts at the present. A tester that is entered again begins empty.
    """

    def __init__(
        self,
        dispatcher: Redispatcher,
        app: FastAPI | None = None,
        *,
        clock: FakeClock | None = None,
        consumers: Sequence[type[BaseConsumer]] | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.clock = clock or FakeClock(datetime.now(UTC))
        if consumers is None:
            consumers = [consumer.consumer_class for consumer in dispatcher.config.consumers]
        self._app = app
        work = Work(
            dispatcher, app, self.clock, [definition_of(consumer) for consumer in consumers]
        )
        Publications.__init__(self, work.client, work.broker, dispatcher.config.sealing)
        BatchRuns.__init__(self, work)
        self._stand_in: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        stand_in = self.dispatcher.stand_in(self._work.broker, self._app)
        stand_in.__enter__()
        self._stand_in = stand_in
        self._work.clear()
        self._work.is_open = True
        return self

    def __exit__(self, *exception: object) -> None:
        stand_in, self._stand_in = self._stand_in, None
        self._work.is_open = False
        if stand_in is not None:
            stand_in.__exit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exception: object) -> None:
        self.__exit__()

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """Run the application's lifespan without HTTP, as a standalone pool does.

        Jobs that run meanwhile see what it yields and what it puts on ``app.state``.

        Raises:
            NotRunningError: the tester has no app, or the app does not include the router.
        """
        self._work.check_open()
        app = self._app
        if app is None:
            raise NotRunningError(
                "There is no application to run: RedispatcherTester(dispatcher, app)."
            )
        async with app.router.lifespan_context(app) as yielded:
            if all(other is not app for _, other in self.dispatcher.lifespans):
                raise NotRunningError(
                    f"The application {app.title!r} does not run this dispatcher: include its "
                    "router with `app.include_router(dispatcher.router)`."
                )
            self._work.state = yielded or {}
            try:
                yield self._work.state
            finally:
                self._work.state = {}

    @property
    def runs(self) -> list[JobRun]:
        """All attempts so far, those included that a waiting ``Job.result()`` brought about."""
        return self._work.runs

    @property
    def redis_client(self) -> AsyncRedisClient:
        """A client of the store in memory, for ``MyConsumer.publish(message, redis_client)``."""
        return self._client

    def advance(self, by: timedelta) -> datetime:
        """Move the clock on and return the new time; what falls due waits to be run."""
        return self.clock.advance(by)

    def clear(self) -> None:
        """Forget all jobs and runs: for a tester that several tests share."""
        self._work.clear()

    @overload
    async def run(
        self,
        consumer: type[Consumes[M, R]],
        message: M,
        *,
        attempt: int = ...,
        headers: BaseModel | Mapping[str, Any] | None = ...,
        overrides: Overrides | None = ...,
    ) -> R: ...
    @overload
    async def run(
        self,
        consumer: type[ConsumesSync[M, R]],
        message: M,
        *,
        attempt: int = ...,
        headers: BaseModel | Mapping[str, Any] | None = ...,
        overrides: Overrides | None = ...,
    ) -> R: ...
    async def run(
        self,
        consumer: type[Any],
        message: Any,
        *,
        attempt: int = 1,
        headers: BaseModel | Mapping[str, Any] | None = None,
        overrides: Overrides | None = None,
    ) -> Any:
        """Run one attempt at one message, all the way a job goes, and return its result.

        The message is encoded and validated, dependencies are opened, ``around`` and
        ``process_message`` run, and the result goes through JSON, as ``Job.result()`` would give
        it. The store is not involved: there is no job, no retry and no timetable. ``overrides``
        replace dependencies, on top of ``app.dependency_overrides``.

        What the handler raises is raised, ``Retry``, ``Snooze`` and ``Reject`` included.
        """
        definition = definition_of(consumer)
        ended = await self._work.run_once(definition, message, attempt, headers, overrides)
        return conclude(*ended)

    @overload
    def run_blocking(
        self,
        consumer: type[Consumes[M, R]],
        message: M,
        *,
        attempt: int = ...,
        headers: BaseModel | Mapping[str, Any] | None = ...,
        overrides: Overrides | None = ...,
    ) -> R: ...
    @overload
    def run_blocking(
        self,
        consumer: type[ConsumesSync[M, R]],
        message: M,
        *,
        attempt: int = ...,
        headers: BaseModel | Mapping[str, Any] | None = ...,
        overrides: Overrides | None = ...,
    ) -> R: ...
    def run_blocking(
        self,
        consumer: type[Any],
        message: Any,
        *,
        attempt: int = 1,
        headers: BaseModel | Mapping[str, Any] | None = None,
        overrides: Overrides | None = None,
    ) -> Any:
        """Do the same as :meth:`run` in a test that is not ``async``.

        It runs in the event loop of the application's lifespan, if ``TestClient`` runs one, so
        that dependencies may use what was made there.
        """
        definition = definition_of(consumer)
        ended = self._work.block(
            lambda: self._work.run_once(definition, message, attempt, headers, overrides)
        )
        return conclude(*ended)

    async def run_until_idle(
        self,
        *,
        expected: Errors = (),
        overrides: Overrides | None = None,
        limit: int = _LIMIT,
        schedules: bool = False,
    ) -> RunReport:
        """Run all that is due, and what it publishes, until nothing is; report every attempt.

        Jobs are claimed, executed and settled as a pool does it, but one after another: who fell
        due first, and then who was published first. A batch is what is due then, up to its size;
        it does not linger. What is delayed or waits for its next attempt
        stays until the clock is moved; a random delay between attempts is always its longest.
        With ``schedules``, those that are due make their jobs first.

        Raises:
            FailedRunsError: an attempt failed, with anything but an ``expected`` exception. A
                handler that raises ``Retry`` or ``Snooze`` has not failed.
            EndlessRunError: more than ``limit`` attempts were made.
        """
        __tracebackhide__ = True
        report = await self._work.drain(timedelta(), overrides, limit, schedules=schedules)
        return _checked(report, expected)

    def run_until_idle_blocking(
        self,
        *,
        expected: Errors = (),
        overrides: Overrides | None = None,
        limit: int = _LIMIT,
        schedules: bool = False,
    ) -> RunReport:
        """Do the same as :meth:`run_until_idle` in a test that is not ``async``."""
        __tracebackhide__ = True
        report = self._work.block(
            lambda: self._work.drain(timedelta(), overrides, limit, schedules=schedules)
        )
        return _checked(report, expected)

    async def run_for(
        self,
        duration: timedelta,
        *,
        expected: Errors = (),
        overrides: Overrides | None = None,
        limit: int = _LIMIT,
        schedules: bool = False,
    ) -> RunReport:
        """Let time pass: run each job at the very moment it falls due, until ``duration`` is over.

        With ``schedules``, these make their jobs meanwhile, each at its tick.

        Raises as :meth:`run_until_idle` does.
        """
        __tracebackhide__ = True
        report = await self._work.drain(duration, overrides, limit, schedules=schedules)
        return _checked(report, expected)

    def run_for_blocking(
        self,
        duration: timedelta,
        *,
        expected: Errors = (),
        overrides: Overrides | None = None,
        limit: int = _LIMIT,
        schedules: bool = False,
    ) -> RunReport:
        """Do the same as :meth:`run_for` in a test that is not ``async``."""
        __tracebackhide__ = True
        report = self._work.block(
            lambda: self._work.drain(duration, overrides, limit, schedules=schedules)
        )
        return _checked(report, expected)


def _checked(report: RunReport, expected: Errors) -> RunReport:
    __tracebackhide__ = True
    failures = report.failures(expected)
    if not failures:
        return report
    errors = [run.error for run in failures if run.error is not None]
    cause = errors[0] if len(errors) == 1 else BaseExceptionGroup("Failed runs", errors)
    raise FailedRunsError(failures, report) from cause
