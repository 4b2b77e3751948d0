"""What an application puts around its publishes and around its runs."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from redispatcher_fastapi.errors import ConfigurationError, MiddlewareError
from redispatcher_fastapi.spelling import check_overrides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from redispatcher_fastapi.consumer import BaseConsumer, BatchItem, Unique
    from redispatcher_fastapi.job import Job, JobContext, Priority

T = TypeVar("T")
SubjectT = TypeVar("SubjectT")
T_co = TypeVar("T_co", covariant=True, default=Any)


class CallNext(Protocol[T_co]):
    """Goes on to the next middleware, and after the last one to the publish or the run itself."""

    def __call__(self) -> Awaitable[T_co]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One call of ``publish`` or ``publish_many``, before it is sent.

    ``headers`` are those that the caller gave. What is put in before ``call_next`` travels with
    every message of the call, and wins over what the consumer's ``headers()`` makes.
    """

    consumer: type[BaseConsumer]
    queue: str
    messages: tuple[BaseModel, ...]
    headers: dict[str, Any]
    #: The id that the caller chose, if any.
    id: str | None = None
    delay: timedelta | None = None
    at: datetime | None = None
    #: ``None`` where the caller leaves it to the consumer, as the next two.
    priority: Priority | None = None
    expires: timedelta | datetime | None = None
    unique: Unique | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job, with its message read and validated."""

    consumer: type[BaseConsumer]
    message: BaseModel
    context: JobContext

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers by the names under which they were published."""
        headers: Any = self.context.headers
        if isinstance(headers, BaseModel):
            return headers.model_dump(by_alias=True)
        return cast("Mapping[str, Any]", headers)


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch of a ``BatchConsumer``; each item has its own headers in ``item.context``."""

    consumer: type[BaseConsumer]
    items: Sequence[BatchItem[Any, Any]]


class Middleware:
    """Goes around every publish, every run and every batch; override what you need.

    One object serves all calls of a dispatcher or a pool, many of them at once.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_overrides(cls, Middleware)

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        """Go around one call of ``publish`` or ``publish_many``.

        ``call_next()`` publishes and returns the jobs. Called again after an error, it sends the
        same jobs under the same ids. What is raised reaches the caller: raise to refuse.
        """
        await call_next()

    async def around_run(self, run: Run, call_next: CallNext[Any]) -> Any:
        """Go around one attempt: its dependencies, ``around``, its ``TIMEOUT`` and its handler.

        ``call_next()`` returns what the handler returned, or raises what it raised. What is
        raised is the attempt's error, and what is returned is its result; ``None`` leaves the
        result that ``call_next()`` returned.
        """
        return await call_next()

    async def around_batch(self, batch: BatchRun, call_next: CallNext[None]) -> None:
        """Go around one batch of a ``BatchConsumer``, as ``around_run`` does around a run.

        What is raised becomes of each item of which the handler said nothing, or of all that it
        had not failed if it had returned already.
        """
        await call_next()


def check_middleware(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return the middleware of a dispatcher or a pool, the outermost first.

    Raises:
        ConfigurationError: something among it is no ``Middleware``, or could not be awaited.
    """
    if isinstance(middleware, Middleware):
        raise ConfigurationError(
            f"The middleware is a list of them: middleware=[{type(middleware).__qualname__}(...)]."
        )
    checked = tuple(middleware)
    for each in checked:
        if isinstance(each, type):
            name = each.__qualname__
            raise ConfigurationError(
                f"The middleware {name} is a class: list an instance, {name}(...)."
            )
        if not isinstance(each, Middleware):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user may list anything
            raise ConfigurationError(
                f"{type(each).__qualname__} is no middleware: derive it from Middleware."
            )
        for method in (each.around_publish, each.around_run, each.around_batch):
            if not inspect.iscoroutinefunction(inspect.unwrap(method)):
                raise ConfigurationError(
                    f"{type(each).__qualname__}.{method.__name__} must be `async def`."
                )
    return checked


def around_publishes(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return those that do anything around a publish."""
    return tuple(each for each in middleware if _overrides(each.around_publish))


def around_runs(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return those that do anything around a run."""
    return tuple(each for each in middleware if _overrides(each.around_run))


def around_batches(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return those that do anything around a batch."""
    return tuple(each for each in middleware if _overrides(each.around_batch))


async def publish_through(
    middleware: tuple[Middleware, ...],
    publication: Publication,
    publish: Callable[[], Awaitable[list[Job[Any]]]],
) -> list[Job[Any]]:
    """Return what ``publish`` returned, called through the middleware.

    Raises:
        MiddlewareError: a middleware returned although nothing was published.
    """
    for each in reversed(middleware):
        publish = partial(_publish_through_one, each, publication, publish)
    return await publish()


async def run_through(
    middleware: tuple[Middleware, ...], run: Run, call: Callable[[], Awaitable[Any]]
) -> Any:
    """Return the result of ``call``, called through the middleware."""
    for each in reversed(middleware):
        call = partial(_go_through_one, each, each.around_run, run, call)
    return await call()


async def run_batch_through(
    middleware: tuple[Middleware, ...], batch: BatchRun, call: Callable[[], Awaitable[None]]
) -> None:
    """Run ``call`` through the middleware."""
    for each in reversed(middleware):
        call = partial(_go_through_one, each, each.around_batch, batch, call)
    await call()


class _Next(Generic[T]):
    """What one middleware is given to call, and what came of it."""

    __slots__ = ("_call", "failure", "result")

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self.result: T | None = None
        self.failure: BaseException | None = None

    async def __call__(self) -> T:
        self.failure = None
        try:
            self.result = result = await self._call()
        except BaseException as error:
            self.failure = error
            raise
        return result


async def _publish_through_one(
    middleware: Middleware,
    publication: Publication,
    publish: Callable[[], Awaitable[list[Job[Any]]]],
) -> list[Job[Any]]:
    call_next = _Next(publish)
    try:
        await middleware.around_publish(publication, call_next)
    except Exception as error:
        _name_origin(error, middleware, call_next.failure)
        raise
    else:
        if call_next.result is not None:
            return call_next.result
        raise MiddlewareError(
            f"{type(middleware).__qualname__}.around_publish returned, but nothing was published "
            f"to {publication.queue!r}: let it `await call_next()`, or raise."
        ) from call_next.failure
    finally:
        call_next.failure = None  # whose traceback leads back here


async def _go_through_one(
    middleware: Middleware,
    around: Callable[[SubjectT, CallNext[Any]], Awaitable[Any]],
    subject: SubjectT,
    call: Callable[[], Awaitable[Any]],
) -> Any:
    call_next = _Next(call)
    try:
        returned = await around(subject, call_next)
    except Exception as error:
        _name_origin(error, middleware, call_next.failure)
        raise
    finally:
        call_next.failure = None
    return call_next.result if returned is None else returned


def _name_origin(error: Exception, middleware: Middleware, passed_on: BaseException | None) -> None:
    """Note whose error it is, unless the middleware only passes it on."""
    if error is not passed_on:
        with suppress(Exception):  # of a class that cannot be changed
            error.add_note(f"raised by the middleware {type(middleware).__qualname__}")


def _overrides(method: Callable[..., Any]) -> bool:
    function = getattr(method, "__func__", method)
    return function not in (
        Middleware.around_publish,
        Middleware.around_run,
        Middleware.around_batch,
    )
