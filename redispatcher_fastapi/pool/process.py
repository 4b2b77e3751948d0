"""A pool that is a process of its own: event loop, signals, exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import (
    BrokerAccessError,
    ConfigurationError,
    ConsumerDefinitionError,
    RequestOnlyDependencyError,
)
from redispatcher_fastapi.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from redispatcher_fastapi.pool.consumer_pool import ConsumerPool

logger = logging.getLogger("redispatcher.pool")

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h: starting again will not help before something is changed."""

_HOPELESS = (
    BrokerAccessError,
    ConfigurationError,
    ConsumerDefinitionError,
    RequestOnlyDependencyError,
)
_CLOSES_WITHIN_SECONDS = 2.0
_THREADS_END_WITHIN_SECONDS = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopSignals:
    """What SIGTERM, SIGINT and SIGUSR1 do to a process that runs a pool.

    While the pool runs, the first one begins a graceful stop and the second one stops at once.
    Before that the first one cancels whatever prepares the process; afterwards the second one
    cancels what closes it. SIGUSR1 drains a pool that runs, and counts as the first one where none
    runs yet.
    """

    def __init__(self) -> None:
        self._count = 0
        self._pool: ConsumerPool | None = None
        self._is_pool_done = False
        self._task: asyncio.Task[object] | None = None

    @property
    def has_stop(self) -> bool:
        """Whether the process was told to stop."""
        return self._count > 0

    async def run_pool(self, pool: ConsumerPool, *, burst: bool) -> None:
        """Run a pool that stops as the signals say; not at all if there was one already."""
        if self.has_stop:
            return
        self._pool = pool
        try:
            await pool.run(burst=burst)
        finally:
            self._pool = None
            self._is_pool_done = True

    def stop(self) -> None:
        """Do what a signal does."""
        self._count += 1
        is_first = self._count == 1
        if self._pool is not None and is_first:
            logger.info(
                "Stopping: no new jobs; finishing what runs. A second signal stops at once."
            )
            self._pool.quiet()
        elif self._pool is not None:
            logger.warning("Stopping at once.")
            self._pool.stop_now()
        elif self._task is not None and not (is_first and self._is_pool_done):
            self._task.cancel()

    def drain(self) -> None:
        """Do what SIGUSR1 does."""
        if self._pool is not None:
            self._pool.begin_drain()
        elif not self.has_stop and not self._is_pool_done:
            self.stop()

    @contextmanager
    def received(self) -> Generator[None, None, None]:
        """Receive the signals meanwhile, in the current task."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        before = [signal.getsignal(number) for number in _SIGNALS]
        for number in _SIGNALS:
            does = self.drain if number == signal.SIGUSR1 else self.stop
            loop.add_signal_handler(number, does)
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                loop.remove_signal_handler(number)
                # A loop leaves the default behind, which would end a process that is about to end.
                signal.signal(number, handler)


def run_process(pool: ConsumerPool, *, burst: bool) -> None:
    """Run a pool in a new event loop until it is told to stop, see :meth:`ConsumerPool.start`."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise ConfigurationError(
            "ConsumerPool.start() runs an event loop of its own: inside of one, "
            "use `await pool.run()`."
        )
    configure_logging()
    run_with_signals(lambda signals: signals.run_pool(pool, burst=burst))


def run_with_signals(work: Callable[[StopSignals], Awaitable[None]]) -> None:
    """Do in a new event loop what runs a pool; return after a stop that was asked for.

    Raises:
        SystemExit: with code 78 for what only a change of code, configuration or permissions can
            heal; the reason is logged.
    """
    runner = asyncio.Runner(loop_factory=event_loop_factory())
    try:
        runner.run(_work_with_signals(work))
    except _HOPELESS as error:
        logger.critical("The pool cannot run: %s", error)
        raise SystemExit(EXIT_CONFIGURATION) from error
    finally:
        _close(runner)
    leave_stuck_threads()


def _close(runner: asyncio.Runner) -> None:
    """Close an event loop; end the process if a thread of ``asyncio.to_thread`` holds that up."""
    failure = sys.exception()
    code = failure.code if isinstance(failure, SystemExit) else int(failure is not None)
    timer = threading.Timer(_CLOSES_WITHIN_SECONDS, _leave, [code])
    timer.daemon = True
    timer.start()
    try:
        runner.close()
    finally:
        timer.cancel()


def _leave(code: int) -> None:
    logger.warning("Leaving threads behind that are still running.")
    logging.shutdown()
    os._exit(code)


async def _work_with_signals(work: Callable[[StopSignals], Awaitable[None]]) -> None:
    signals = StopSignals()
    with signals.received():
        try:
            await work(signals)
        except asyncio.CancelledError:
            if not signals.has_stop:
                raise
            logger.info("Stopped before it was ready, or while it closed.")


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's when it is installed, else ``None`` for asyncio's own."""
    if find_spec("uvloop") is None:
        return None
    from uvloop import new_event_loop  # optional

    return new_event_loop


def leave_stuck_threads() -> None:
    """End the process although a handler's thread still runs.

    A thread cannot be stopped; its job was given back. Those that were idle end by themselves, a
    moment after the event loop.
    """
    current = threading.current_thread()
    others = [each for each in threading.enumerate() if each is not current and not each.daemon]
    deadline = time.monotonic() + _THREADS_END_WITHIN_SECONDS
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        _leave(0)
