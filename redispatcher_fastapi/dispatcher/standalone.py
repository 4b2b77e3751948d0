"""Enters an application's lifespan in a process that serves no HTTP."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.errors import NotRunningError
from redispatcher_fastapi.publisher import STATE_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from fastapi import FastAPI

    from redispatcher_fastapi.dispatcher.redispatcher import Redispatcher

# Not an attribute of a dispatcher: who enters the lifespan need not know which one the app has.
_IS_STANDALONE: ContextVar[bool] = ContextVar("redispatcher_is_standalone", default=False)


class NoDispatcherError(NotRunningError):
    """Raised when an application does not include the router of a dispatcher."""


@contextmanager
def standalone() -> Generator[None, None, None]:
    """Keep dispatchers whose lifespan is entered meanwhile from running a pool of their own."""
    token = _IS_STANDALONE.set(True)
    try:
        yield
    finally:
        _IS_STANDALONE.reset(token)


def is_standalone() -> bool:
    """Return whether :func:`standalone` is in force."""
    return _IS_STANDALONE.get()


@asynccontextmanager
async def app_lifespan(
    app: FastAPI,
) -> AsyncGenerator[tuple[Redispatcher, Mapping[str, Any]], None]:
    """Run an application's lifespan without HTTP and without a pool inside the application.

    Provides the dispatcher and all that the lifespan yielded, which is what an ``Injector`` needs.

    Raises:
        NoDispatcherError: the application does not include the router of a dispatcher.
    """
    async with AsyncExitStack() as stack:
        with standalone():
            yielded = await stack.enter_async_context(app.router.lifespan_context(app))
        state: Mapping[str, Any] = yielded or {}
        dispatcher = state.get(STATE_KEY) or getattr(app.state, STATE_KEY, None)
        if dispatcher is None:
            raise NoDispatcherError(
                f"The application {app.title!r} has no dispatcher: include its router with "
                "`app.include_router(dispatcher.router)`."
            )
        yield dispatcher, state
