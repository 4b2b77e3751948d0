"""What the jobs do, the same for every library. Standard library only."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from benchmarks.faults.journal import note

SLOTS = 8
"""How many jobs a worker process runs at once."""
LEASE = 5
"""Seconds without a sign of life after which others take a job over, where that can be set."""


async def run(job: str, seconds: float, kills: bool) -> str:
    """Work for a time, then return which run this was, or kill the process."""
    name = f"{os.getpid()}@{time.monotonic():.6f}"
    note("started", job, name)
    await asyncio.sleep(seconds)
    if kills:
        note("killing", job, name)
        os.kill(os.getpid(), signal.SIGKILL)
    note("finished", job, name)
    return name


def pid_of(run: str) -> int:
    """The process of a run."""
    return int(run.partition("@")[0])
