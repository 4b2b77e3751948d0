"""Begins asynchronous work from wherever a thread or an event loop is."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    Work = Callable[[], Coroutine[Any, Any, None]]


def begin_in(loop: asyncio.AbstractEventLoop, tasks: asyncio.TaskGroup, work: Work) -> Future[bool]:
    """Begin in a task group, from any thread.

    The future is done when the work is, which must not raise. It is ``False`` where the task group
    or its loop is over. Who waits for it may give up: the work goes on.
    """
    done = Future[bool]()

    def begin() -> None:
        coroutine = work()
        try:
            task = tasks.create_task(coroutine)
        except RuntimeError:
            coroutine.close()
            done.set_result(False)
        else:
            task.add_done_callback(lambda _: done.set_result(True))

    if _runs_here(loop):
        begin()
    else:
        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError:
            done.set_result(False)
    return done


def run_in_thread(work: Work) -> Future[bool]:
    """Do all of it in an event loop of its own, for work that suits every loop."""
    done = Future[bool]()
    thread = Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join()
    done.set_result(True)
    return done


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
