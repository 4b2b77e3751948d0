"""Cancellations that redis-py loses, or turns into an error of the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from anyio.lowlevel import checkpoint_if_cancelled

from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

AnswerT = TypeVar("AnswerT")

_CANCEL_AGAIN_SECONDS = 0.05


async def heeding_cancellation(call: Awaitable[AnswerT]) -> AnswerT:
    """Return what a call through redis-py returns, unless the task was asked to end meanwhile.

    redis-py sends with ``asyncio.wait_for``, which until Python 3.12 swallows a cancellation that
    comes together with its result: whoever waits for something else next would wait for ever.
    """
    task = _current_task()
    before = 0 if task is None else task.cancelling()
    try:
        answer = await call
    except REDIS_ERRORS as error:
        if task is not None and task.cancelling() > before:
            await checkpoint_if_cancelled()
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        # A cancel scope of anyio's is left only by the cancellation that names it.
        await checkpoint_if_cancelled()
        raise asyncio.CancelledError
    return answer


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs: a test drives this coroutine by hand
        return None


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended, as redis-py can lose a cancellation."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=_CANCEL_AGAIN_SECONDS)
