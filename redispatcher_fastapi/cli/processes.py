"""A parent that keeps several processes of one pool."""

from __future__ import annotations

import logging
import random
import signal
from datetime import timedelta
from functools import partial
from subprocess import PIPE
from typing import TYPE_CHECKING

import anyio

from redispatcher_fastapi.backoff import Exponential
from redispatcher_fastapi.pool.process import EXIT_CONFIGURATION, event_loop_factory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import Process, TaskGroup

    from redispatcher_fastapi.cli.options import PoolOptions

logger = logging.getLogger("redispatcher.pool")

EXIT_USAGE = 2

_RESTART = Exponential(first=timedelta(milliseconds=500), max=timedelta(seconds=30))
#: After running this long, a crash is a new one and not the last one again.
_HEALTHY = timedelta(minutes=1)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def run_processes(options: PoolOptions) -> None:
    """Run ``options.processes`` children until all are told to end, or one cannot run at all.

    Raises:
        SystemExit: 1 when a child did not stop gracefully; 2 or 78 when one ended so.
    """
    options.configure_logging()
    code = anyio.run(Parent(options).run, backend_options={"loop_factory": event_loop_factory()})
    if code:
        raise SystemExit(code)


class Parent:
    """Starts the children, starts crashed ones again and passes signals on to all of them."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._children: dict[int, Process] = {}
        self._stopping = anyio.Event()
        self._code = 0

    async def run(self) -> int:
        """Return the exit code once no child is left."""
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async with anyio.create_task_group() as listening:
                listening.start_soon(self._pass_on, signals)
                async with anyio.create_task_group() as children:
                    self._start_all(children)
                listening.cancel_scope.cancel()
        return self._code

    def _start_all(self, children: TaskGroup) -> None:
        count = self._options.processes
        logger.info("Starting %d processes.", count, extra={"event": "parent.started"})
        for number in range(1, count + 1):
            children.start_soon(partial(self._keep, number), name=f"process {number}")

    async def _keep(self, number: int) -> None:
        """Run one child, and another one whenever it ends without having been told to."""
        crashes = 0
        while not self._stopping.is_set():
            started = anyio.current_time()
            code = await self._run_child(number)
            if self._is_final(number, code):
                return
            if anyio.current_time() - started > _HEALTHY.total_seconds():
                crashes = 0
            crashes += 1
            delay = _RESTART.delay(crashes, random.random).total_seconds()
            logger.error(
                "Process %d ended with code %d; starting another one in %.1f s.",
                number,
                code,
                delay,
                extra={"event": "process.ended", "number": number, "code": code},
            )
            with anyio.move_on_after(delay):
                await self._stopping.wait()

    async def _run_child(self, number: int) -> int:
        command = self._options.child_command(
            "--processes", str(self._options.processes), "--process-number", str(number)
        )
        # A session of its own: Ctrl-C in a terminal reaches the parent only, which passes it on
        # once. The pipe tells the child when the parent is gone.
        async with await anyio.open_process(
            command, stdin=PIPE, stdout=None, stderr=None, start_new_session=True
        ) as child:
            self._children[number] = child
            try:
                logger.info(
                    "Process %d has id %d.",
                    number,
                    child.pid,
                    extra={"event": "process.started", "number": number, "child_pid": child.pid},
                )
                if self._stopping.is_set():  # told to stop while it was being started
                    child.send_signal(signal.SIGTERM)
                return await child.wait()
            finally:
                del self._children[number]

    def _is_final(self, number: int, code: int) -> bool:
        """Note what an exit code means for all; return whether the child is not started again."""
        if code in {EXIT_USAGE, EXIT_CONFIGURATION}:
            if not self._stopping.is_set():
                logger.critical("Process %d cannot run; stopping all of them.", number)
                self._stop(signal.SIGTERM)
            self._code = code
            return True
        if self._stopping.is_set():
            # A child that had not come far enough to handle the signal held no jobs either.
            if code not in {0, *(-number for number in _SIGNALS)}:
                logger.error("Process %d ended with code %d while it stopped.", number, code)
                self._code = self._code or 1
            return True
        return code == 0 and self._options.burst

    async def _pass_on(self, signals: AsyncIterator[signal.Signals]) -> None:
        is_stopping = False
        async for number in signals:
            if number == signal.SIGUSR1:
                logger.info("Draining all processes.", extra={"event": "parent.draining"})
            else:
                word = "at once" if is_stopping else "gracefully"
                is_stopping = True
                logger.info("Stopping all processes %s.", word, extra={"event": "parent.stopping"})
            self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        for child in self._children.values():
            if child.returncode is None:
                child.send_signal(number)
