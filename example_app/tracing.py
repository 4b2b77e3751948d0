"""A trace id that goes from a request into the jobs it publishes, and into their log lines."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Header

from redispatcher_fastapi import BaseConsumer, JobContext

logger = logging.getLogger("example_app")

_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


async def trace(
    x_trace_id: Annotated[str | None, Header(pattern=r"^[\w.-]{1,64}$")] = None,
) -> None:
    """Take over the caller's trace id, or begin a trace; a dependency of the whole application."""
    _trace_id.set(x_trace_id or uuid4().hex)


class TracedConsumer(BaseConsumer):
    """The base of this service's consumers: it has no queue, so it is none itself."""

    class Headers(BaseConsumer.Headers):
        trace_id: str = ""

    @classmethod
    def headers(cls) -> TracedConsumer.Headers:
        """Give every message the trace of whoever publishes it."""
        return cls.Headers(trace_id=_trace_id.get())

    async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
        """Continue the trace for one attempt: what the job logs or publishes belongs to it."""
        token = _trace_id.set(context.headers.trace_id)
        name = type(self).__name__
        logger.info("trace %s: %s begins attempt %d", _trace_id.get(), name, context.attempt)
        try:
            return await run()
        finally:
            _trace_id.reset(token)
