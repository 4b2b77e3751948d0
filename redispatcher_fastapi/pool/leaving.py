"""Waits for what still runs in a process that is about to leave."""

from __future__ import annotations

import asyncio
from typing import Any


async def wait_until_ended(
    tasks: set[asyncio.Task[Any]], seconds: float, *, or_set: asyncio.Event | None = None
) -> None:
    """Wait until all of these tasks have ended, for some seconds at most, or until an event is set.

    Tasks that join them or leave them meanwhile count as well.
    """
    loop = asyncio.get_running_loop()
    is_set = None if or_set is None else loop.create_task(or_set.wait())
    deadline = loop.time() + seconds
    try:
        while (left := deadline - loop.time()) > 0:
            # One that was cancelled before its first step could not take itself out.
            tasks.difference_update([task for task in tasks if task.done()])
            if not tasks or (is_set is not None and is_set.done()):
                return
            watched: set[asyncio.Task[Any]] = set(tasks)
            if is_set is not None:
                watched.add(is_set)
            await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if is_set is not None:
            is_set.cancel()
