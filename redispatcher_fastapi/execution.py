"""Runs one delivery from raw bytes to an outcome; knows no Redis."""

from __future__ import annotations

import asyncio
from functools import partial
from random import random
from typing import TYPE_CHECKING, Any, Protocol

from redispatcher_fastapi.backoff import RateLimited, Reject, Snooze, checked_delay
from redispatcher_fastapi.broker.types import (
    AttemptError,
    Died,
    Limited,
    Retried,
    Snoozed,
    Succeeded,
)
from redispatcher_fastapi.consumer import seal_result
from redispatcher_fastapi.describing import describe_error
from redispatcher_fastapi.errors import RequestOnlyDependencyError, SealError
from redispatcher_fastapi.job import JobContext
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.middleware import Run, around_runs, run_through
from redispatcher_fastapi.sealing import is_encrypted, no_cipher, without_signature
from redispatcher_fastapi.stopping import StopReason, StopRequested, StopSignal, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from anyio import CapacityLimiter

    from redispatcher_fastapi.broker.types import Delivery, Outcome
    from redispatcher_fastapi.consumer import BaseConsumer, ConsumerDefinition
    from redispatcher_fastapi.middleware import Middleware
    from redispatcher_fastapi.sealing import Sealing


class Dependencies(Protocol):
    """Provides what ``process_message`` depends on, afresh for each run."""

    def open(self) -> AbstractAsyncContextManager[dict[str, Any]]: ...


class JobTimeoutError(TimeoutError):
    """What a run that exceeded its consumer's ``TIMEOUT`` is recorded as."""


class Execution:
    """How the jobs of one consumer are run; made once, used for every delivery."""

    _around = staticmethod(around_runs)

    def __init__(
        self,
        definition: ConsumerDefinition,
        *,
        max_message_bytes: int,
        max_result_bytes: int,
        sealing: Sealing | None = None,
        dependencies: Dependencies | None = None,
        threads: CapacityLimiter | None = None,
        middleware: Sequence[Middleware] = (),
        random: Callable[[], float] = random,
    ) -> None:
        self.definition = definition
        self._max_message_bytes = max_message_bytes
        self._max_result_bytes = max_result_bytes
        self._sealing = sealing
        self._dependencies = dependencies
        self._threads = threads
        self._random = random
        self._middleware = self._around(middleware)
        self._needs_headers = definition.needs_headers or bool(self._middleware)
        #: Whether a run is nothing but a call with the message.
        self._is_plain = (
            definition.is_async
            and definition.timeout is None
            and dependencies is None
            and not self._needs_headers
        )
        self._succeeded = Succeeded(None, definition.result_ttl)

    async def run(self, delivery: Delivery) -> Outcome:
        """Return what becomes of the job.

        Whatever the handler raises ends up in the outcome, ``SystemExit`` and a ``CancelledError``
        of its own included. Only a cancellation of this task from outside is raised, and what a
        thread raised because it was asked to stop, as the same.
        """
        read = self.read(delivery)
        if isinstance(read, Died):
            return read
        message, headers = read
        try:
            if self._is_plain:
                result = await self.definition.consumer().process_message(message)
            else:
                result = await self._call_through(delivery, message, headers)
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            return self.fail(delivery, error)
        except StopRequested as error:
            if delivery.stop is not None and delivery.stop.is_requested:
                raise asyncio.CancelledError from error
            return self.fail(delivery, error)
        except BaseException as error:  # the job is what failed, not the pool
            return self.fail(delivery, error)
        if result is None and self._sealing is None:
            return self._succeeded
        return self.succeed(delivery, result)

    def read(self, delivery: Delivery) -> tuple[Any, Any] | Died:
        """Return the message and, where they are needed, its headers, or why there are none."""
        definition = self.definition
        if delivery.published_ms is None:
            error = AttemptError(
                "What Redis holds for this job is not a record: it was changed by hand."
            )
            return Died("undecodable", error)
        stored = delivery.envelope
        if len(stored) > self._max_message_bytes:  # not parsed, for that could take very long
            too_large = AttemptError(
                f"The stored message has {len(stored)} bytes, more than the limit of "
                f"{self._max_message_bytes}: raise max_message_bytes, and redrive the job."
            )
            return Died("message_too_large", too_large)
        try:
            if self._sealing is not None:
                stored = self._sealing.open_message(
                    stored, queue=delivery.queue, job_id=delivery.job_id
                )
            if self._needs_headers:
                envelope = definition.decoder.decode(stored)
                return envelope.message, envelope.headers
            return definition.decoder.decode_message(stored), None
        except (EnvelopeError, SealError) as error:
            if self._sealing is None and is_encrypted(without_signature(stored)):
                return Died("undecryptable", AttemptError(str(no_cipher())))
            return Died(error.reason, AttemptError(str(error)))
        except BaseException as error:  # a validator of the user's may raise anything
            return Died("invalid_message", describe_error(error))

    def succeed(self, delivery: Delivery, result: Any) -> Outcome:
        """Return what becomes of a job whose work is done; its result may be one that is not kept.

        It never raises itself.
        """
        definition = self.definition
        try:
            encoded = definition.encode_result(result)
            if self._sealing is not None:
                encoded = seal_result(definition, self._sealing, delivery.job_id, encoded)
        except BaseException as error:  # so may a serializer; the work is done, and not done again
            return Died("result_not_serializable", describe_error(error))
        if encoded is None:
            return self._succeeded
        if len(encoded) > self._max_result_bytes:
            # Redis would refuse it, or take so long that nobody waits for its answer.
            too_large = AttemptError(
                f"What it returned takes {len(encoded)} bytes, more than the limit of "
                f"{self._max_result_bytes}: store it elsewhere and return a reference to it, or "
                "raise max_result_bytes."
            )
            return Died("result_too_large", too_large)
        return Succeeded(encoded, definition.result_ttl)

    def fail(self, delivery: Delivery, error: BaseException) -> Outcome:
        """Return what becomes of a job whose handler raised ``error``; never raises itself."""
        if isinstance(error, Reject):
            return Died("rejected", describe_error(error))
        if isinstance(error, RequestOnlyDependencyError):
            # No attempt will ever have a request.
            return Died("failed", describe_error(error))
        try:
            if isinstance(error, Snooze):
                return Snoozed(checked_delay("Snooze", error.delay))
            if isinstance(error, RateLimited):
                rest = checked_delay("RateLimited", error.delay)
                return Limited(rest, is_queue=error.scope == "queue")
            delay = self.definition.retry.next_delay(delivery.attempt, error, self._random)
        except BaseException as broken:  # a back-off or an error class of the user's may do so
            return Died("failed", describe_error(broken))
        if delay is None:
            return Died("failed", describe_error(error))
        return Retried(delay, describe_error(error))

    async def _call_through(self, delivery: Delivery, message: Any, headers: Any) -> Any:
        definition = self.definition
        context: JobContext | None = None
        if not definition.is_async:
            delivery.stop = StopSignal()
        if self._middleware or definition.context_parameter is not None or definition.has_around:
            context = make_context(delivery, headers)
            if self._middleware:
                return await run_through(
                    self._middleware,
                    Run(definition.consumer, message, context),
                    partial(self._call, message, headers, context, delivery.stop),
                )
        return await self._call(message, headers, context, delivery.stop)

    async def _call(
        self, message: Any, headers: Any, context: JobContext | None, stop: StopSignal | None
    ) -> Any:
        definition = self.definition
        consumer = definition.consumer()
        arguments: dict[str, Any] = {}
        if definition.headers_parameter is not None:
            arguments[definition.headers_parameter] = headers
        if definition.context_parameter is not None:
            arguments[definition.context_parameter] = context

        process = partial(self._process, consumer, message, stop)
        if self._dependencies is None:
            body = partial(process, arguments)
        else:
            body = partial(self._process_with_dependencies, self._dependencies, process, arguments)
        stops = () if stop is None else (stop,)
        return await self._in_time(partial(self._surround, consumer, body, context), stops)

    async def _in_time(
        self, run: Callable[[], Awaitable[Any]], stops: Sequence[StopSignal] = ()
    ) -> Any:
        timeout = self.definition.timeout
        if timeout is None:
            return await run()
        seconds = timeout.total_seconds()
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                for stop in stops:
                    stop.follow(scope)
                return await run()
        except (TimeoutError, StopRequested) as error:
            is_own = isinstance(error, TimeoutError) or error.reason is StopReason.TIMEOUT
            if scope.expired() and is_own:
                raise JobTimeoutError(f"It ran longer than {seconds:g} s (TIMEOUT).") from error
            raise

    async def _surround(
        self, consumer: BaseConsumer, body: Callable[[], Awaitable[Any]], context: JobContext | None
    ) -> Any:
        if context is None or not self.definition.has_around:
            return await body()
        return await consumer.around(body, context)

    async def _process_with_dependencies(
        self,
        dependencies: Dependencies,
        process: Callable[[dict[str, Any]], Awaitable[Any]],
        arguments: dict[str, Any],
    ) -> Any:
        # Closed before the job is settled: a commit that fails is a job that failed.
        async with dependencies.open() as provided:
            return await process({**arguments, **provided})

    async def _process(
        self,
        consumer: BaseConsumer,
        message: Any,
        stop: StopSignal | None,
        arguments: dict[str, Any],
    ) -> Any:
        if self.definition.is_async:
            return await consumer.process_message(message, **arguments)
        stops = [] if stop is None else [stop]
        call = partial(consumer.process_message, message, **arguments)
        return await run_in_thread(call, stops, self._threads)


def make_context(delivery: Delivery, headers: Any) -> JobContext:
    """Return what a run may know about itself; its delivery is one that could be read."""
    published_at = delivery.published_at
    assert published_at is not None  # a job without is parked
    if delivery.stop is None:
        delivery.stop = StopSignal()
    return JobContext(
        id=delivery.job_id,
        queue=delivery.queue,
        attempt=delivery.attempt,
        headers=headers,
        published_at=published_at,
        cancellation=delivery.stop,
    )


def is_being_cancelled() -> bool:
    """Whether somebody else asks the current task to end."""
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())
