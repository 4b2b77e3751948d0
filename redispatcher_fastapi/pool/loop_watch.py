"""Notices from a thread that the event loop is blocked, while it still is."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from redispatcher_fastapi.hooks import LoopBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.runs import Run

_LONGEST_PAUSE = 1.0
_LOOKS_PER_LIMIT = 4
_MAX_FRAMES = 30
_MAX_STACK_BYTES = 8192


class LoopWatch:
    """A daemon thread that asks an event loop, once in a while, to answer.

    That costs the loop one callback per second, and a running job nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit: timedelta,
        find_run: Callable[[asyncio.Task[object]], tuple[Lane, Run] | None],
        hooks: PoolHooks,
    ) -> None:
        """Watch the loop of the current thread; a block is what lasts longer than ``limit``.

        ``find_run`` and the hooks are called in the thread of the watch.
        """
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._limit = limit.total_seconds()
        self._pause = min(_LONGEST_PAUSE, self._limit / _LOOKS_PER_LIMIT)
        self._find_run = find_run
        self._hooks = hooks
        self._asked_at: float | None = None
        self._last_lag = 0.0
        self._block: LoopBlock | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redispatcher-loop", daemon=True)

    @property
    def lag(self) -> timedelta:
        """How late the loop answered last, or how long it has not answered if that is more."""
        asked_at = self._asked_at
        waiting = 0.0 if asked_at is None else time.monotonic() - asked_at
        return timedelta(seconds=max(self._last_lag, waiting))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def _run(self) -> None:
        due = time.monotonic() + self._pause
        while not self._stop.wait(self._pause):
            now = time.monotonic()
            self._look(now, overslept=now - due)
            due = time.monotonic() + self._pause

    def _look(self, now: float, *, overslept: float) -> None:
        asked_at = self._asked_at
        is_frozen = overslept > self._limit
        if asked_at is None:
            self._note_answer(overslept if is_frozen else 0.0)
            self._asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed
                self.stop()
        elif self._block is None and now - asked_at > self._limit:
            self._block = self._describe(now - asked_at, is_frozen=is_frozen)
            self._hooks.loop_blocked(self._block)

    def _note_answer(self, frozen_for: float) -> None:
        """Tell of a block that ended, also of one that could not be seen while it lasted."""
        block, lag = self._block, max(self._last_lag, frozen_for)
        self._block = None
        if block is None and frozen_for:
            block = self._describe(frozen_for, is_frozen=True)
            self._hooks.loop_blocked(block)
        elif block is None and lag > self._limit:
            block = LoopBlock(timedelta(seconds=lag), "")
        if block is not None:
            self._hooks.loop_freed(replace(block, lasted=timedelta(seconds=lag)))

    def _answer(self) -> None:
        """Be the callback that the loop runs as soon as it can."""
        if self._asked_at is not None:
            self._last_lag = time.monotonic() - self._asked_at
            self._asked_at = None

    def _describe(self, seconds: float, *, is_frozen: bool) -> LoopBlock:
        """Return what the loop does at this moment."""
        lasted, stack = timedelta(seconds=seconds), _format_stack(self._loop_thread)
        task = asyncio.current_task(self._loop)
        found = None if task is None else self._find_run(task)
        if found is None:
            what = None if task is None else f"task {task.get_name()} ({_describe_coroutine(task)})"
            return LoopBlock(lasted, stack, task=what, is_frozen=is_frozen)
        lane, run = found
        return LoopBlock(
            lasted,
            stack,
            name=lane.name,
            queue=lane.queue,
            job_id=run.delivery.job_id,
            is_frozen=is_frozen,
        )


def _format_stack(thread: int) -> str:
    """Return the innermost frames of a thread without any values, outermost first."""
    frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]  # documented
    frame = frames.get(thread)
    if frame is None:
        return ""
    innermost = islice(traceback.walk_stack(frame), _MAX_FRAMES)
    summary = traceback.StackSummary.extract(innermost)
    summary.reverse()
    text = "".join(summary.format()).rstrip()
    return text.encode(errors="replace")[-_MAX_STACK_BYTES:].decode(errors="ignore")


def _describe_coroutine(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return str(getattr(coroutine, "__qualname__", type(coroutine).__name__))
