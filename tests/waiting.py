"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from inspect import isawaitable

import anyio

#: How long a busy machine may take for what is there in milliseconds otherwise.
_PATIENCE = timedelta(seconds=30)
_PAUSE = timedelta(milliseconds=5)


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]], *, timeout: timedelta = _PATIENCE
) -> None:
    """Return as soon as ``condition`` holds.

    Raises:
        AssertionError: it did not hold in time.
    """
    with anyio.move_on_after(timeout.total_seconds()):
        while True:
            holds = condition()
            if await holds if isawaitable(holds) else holds:
                return
            await anyio.sleep(_PAUSE.total_seconds())
    raise AssertionError(_describe(condition, timeout))


def wait_until_blocking(condition: Callable[[], bool], *, timeout: timedelta = _PATIENCE) -> None:
    """Do the same for a test that has no event loop.

    Raises:
        AssertionError: it did not hold in time.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(_describe(condition, timeout))
        time.sleep(_PAUSE.total_seconds())


def _describe(condition: Callable[[], object], timeout: timedelta) -> str:
    code = getattr(condition, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"not within {timeout.total_seconds():g} s: {condition!r}{place}"
