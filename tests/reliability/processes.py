"""Pool processes of a test's own, to be killed, frozen and stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from redispatcher_fastapi import BaseConsumer
from tests.reliability.oracle import PATIENCE, VARIABLE, Oracle
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
LEASE = timedelta(seconds=1)

Protection = Literal["heartbeat", "release", "isolation", "reading", "publishing", "forgetting"]


class PoolProcess:
    """One run of :mod:`tests.reliability.run_pool`; entering it starts it, leaving it ends it."""

    def __init__(
        self,
        log: Path,
        oracle: Oracle,
        dsn: str,
        *consumers: type[BaseConsumer],
        lease: timedelta = LEASE,
        grace: timedelta = timedelta(seconds=5),
        without: Protection | None = None,
        clock_offset: timedelta = timedelta(),
    ) -> None:
        self._log = log
        self._oracle = oracle
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            VARIABLE: str(oracle.path),
            "REDISPATCHER_REDIS_DSN": dsn,
            "RELIABILITY_LEASE": str(lease.total_seconds()),
            "RELIABILITY_GRACE": str(grace.total_seconds()),
            "RELIABILITY_QUEUES": ",".join(consumer.QUEUE for consumer in consumers),
            "RELIABILITY_WITHOUT": without or "",
            "RELIABILITY_CLOCK_OFFSET": str(clock_offset / timedelta(hours=1)),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def is_alive(self) -> bool:
        return self._started().poll() is None

    @property
    def log(self) -> str:
        """Everything on standard error until now."""
        return self._log.read_text(encoding="utf-8")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the complete log lines about one kind of event."""
        complete, _, _ = self.log.rpartition("\n")
        records = [cast("dict[str, Any]", json.loads(line)) for line in complete.splitlines()]
        return [record for record in records if record.get("event") == name]

    async def wait_until_ready(self) -> None:
        """Return once it takes jobs."""
        await wait_until(
            lambda: bool(self._oracle.entries("ready", pid=self.pid)) or not self.is_alive,
            timeout=PATIENCE,
        )
        assert self.is_alive, self.log

    async def wait_for_log(self, text: str) -> None:
        """Return once ``text`` is in the log."""
        try:
            await wait_until(lambda: text in self.log, timeout=PATIENCE)
        except AssertionError:
            raise AssertionError(f"{text!r} did not appear in:\n{self.log}") from None

    def terminate(self) -> None:
        """Ask it to stop with SIGTERM, as a deployment does."""
        self._started().send_signal(signal.SIGTERM)

    def drain(self) -> None:
        """Ask it with SIGUSR1 to take nothing more, and to end once nothing runs."""
        self._started().send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End it at once with SIGKILL, as the kernel does when memory is short."""
        self._started().kill()

    def pause(self) -> None:
        """Freeze it with SIGSTOP: it keeps its connections and does nothing."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on, unaware of the time that has passed."""
        self._started().send_signal(signal.SIGCONT)

    async def wait(self, *, timeout: timedelta = PATIENCE) -> int:
        """Return the exit code once it has ended."""
        try:
            await wait_until(lambda: not self.is_alive, timeout=timeout)
        except AssertionError:
            raise AssertionError(f"it did not end:\n{self.log}") from None
        code = self._started().returncode
        assert code is not None
        return code

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.run_pool"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._started()
        if process.poll() is None:
            process.kill()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process


class Pools:
    """Any number of pool processes; leaving it ends them all."""

    def __init__(self, folder: Path, oracle: Oracle) -> None:
        self._folder = folder
        self._oracle = oracle
        self._processes = ExitStack()
        self._count = 0

    def begin(
        self,
        dsn: str,
        *consumers: type[BaseConsumer],
        lease: timedelta = LEASE,
        grace: timedelta = timedelta(seconds=5),
        without: Protection | None = None,
        clock_offset: timedelta = timedelta(),
    ) -> PoolProcess:
        """Start one more, and return before it is ready."""
        self._count += 1
        return self._processes.enter_context(
            PoolProcess(
                self._folder / f"pool-{self._count}.log",
                self._oracle,
                dsn,
                *consumers,
                lease=lease,
                grace=grace,
                without=without,
                clock_offset=clock_offset,
            )
        )

    async def start(
        self,
        dsn: str,
        *consumers: type[BaseConsumer],
        lease: timedelta = LEASE,
        grace: timedelta = timedelta(seconds=5),
        without: Protection | None = None,
        clock_offset: timedelta = timedelta(),
    ) -> PoolProcess:
        """Start one more, and return once it takes jobs."""
        process = self.begin(
            dsn,
            *consumers,
            lease=lease,
            grace=grace,
            without=without,
            clock_offset=clock_offset,
        )
        await process.wait_until_ready()
        return process

    async def start_two(
        self, dsn: str, *consumers: type[BaseConsumer], lease: timedelta = LEASE
    ) -> tuple[PoolProcess, PoolProcess]:
        """Start two that compete for the same jobs."""
        first = self.begin(dsn, *consumers, lease=lease)
        second = self.begin(dsn, *consumers, lease=lease)
        await first.wait_until_ready()
        await second.wait_until_ready()
        return first, second

    @asynccontextmanager
    async def supervised(
        self, dsn: str, *consumers: type[BaseConsumer], without: Protection | None = None
    ) -> AsyncGenerator[list[PoolProcess]]:
        """Keep one running for the length of a block, as a supervisor does; yields all of them."""
        started = [self.begin(dsn, *consumers, without=without)]

        async def supervise() -> None:
            while True:
                await started[-1].wait(timeout=timedelta(minutes=10))
                started.append(self.begin(dsn, *consumers, without=without))

        task = asyncio.create_task(supervise())
        try:
            yield started
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._processes.close()
