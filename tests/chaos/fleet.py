"""Pool processes that are kept running, as a supervisor does, whatever ends them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from tests.chaos.clock import Clock
from tests.chaos.journal import Journal
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: Why a process was made to end.
Cause = Literal["kill", "term"]

_STARTS_WITHIN = timedelta(seconds=45)


@dataclass(slots=True, eq=False)
class Member:
    """One run of a pool process."""

    process: asyncio.subprocess.Process
    log: Path
    ended_for: Cause | None = None
    ended_at: float = 0.0
    is_paused: bool = False
    #: When it was frozen and resumed, by the monotonic clock.
    pauses: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._end("kill", signal.SIGKILL)

    def terminate(self) -> None:
        """End it as a deployment does."""
        self._end("term", signal.SIGTERM)

    async def pause(self, seconds: float) -> None:
        """Freeze it for a time; it does not know."""
        begun = time.monotonic()
        self.is_paused = True
        try:
            self._signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)
            self.is_paused = False
            self.pauses.append((begun, time.monotonic()))

    def _end(self, cause: Cause, number: signal.Signals) -> None:
        self.ended_for, self.ended_at = cause, time.monotonic()
        self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


class Fleet:
    """A number of pool processes; one that ends is replaced at once."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        environment: Mapping[str, str],
        *,
        size: int,
        clocks: Sequence[Clock] = (),
        chance: random.Random,
    ) -> None:
        """``clocks`` are given to the processes in turn."""
        self._folder = folder
        self._journal = journal
        self._environment = environment
        self._size = size
        self._clocks = clocks
        self._chance = chance
        self.members: list[Member] = []
        self._begun = 0
        self._is_closing = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep the processes running for the length of a block, and kill those that are left."""
        async with asyncio.TaskGroup() as supervisors:
            tasks = [supervisors.create_task(self._supervise()) for _ in range(self._size)]
            try:
                await wait_until(lambda: len(self.ready()) == self._size, timeout=_STARTS_WITHIN)
                yield
            finally:
                self._is_closing = True
                for task in tasks:
                    task.cancel()
                for member in self.members:
                    if member.is_running:
                        member.process.kill()
                        await member.process.wait()

    def ready(self) -> list[Member]:
        """Return the processes that take jobs now."""
        return [
            member
            for member in self.members
            if member.is_running
            and member.ended_for is None
            and not member.is_paused
            and self._journal.is_ready(member.pid)
        ]

    def choose(self) -> Member | None:
        """Return one of several processes that take jobs; ``None`` if there is but one or none."""
        ready = self.ready()
        return self._chance.choice(ready) if len(ready) > 1 else None

    async def stop(self, *, within: float) -> list[Member]:
        """Stop all in an orderly way; return those that did not end in time."""
        self._is_closing = True
        stopped = [member for member in self.members if member.is_running]
        for member in stopped:
            member.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for member in stopped:
                    await member.process.wait()
        return [member for member in stopped if member.is_running]

    async def _supervise(self) -> None:
        while not self._is_closing:
            member = await self._begin()
            await member.process.wait()

    async def _begin(self) -> Member:
        self._begun += 1
        log = self._folder / f"pool-{self._begun}.log"
        environment = {
            **os.environ,
            **self._environment,
            "PYTHONPATH": str(ROOT),
            "CHAOS_NUMBER": str(self._begun),
        }
        if self._clocks:
            environment |= self._clocks[self._begun % len(self._clocks)].environment
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.worker", "pool", "tests.chaos.target:config"),
                *("--log-level", "warning", "--log-format", "json"),
                cwd=ROOT,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        member = Member(process, log)
        self.members.append(member)
        return member
