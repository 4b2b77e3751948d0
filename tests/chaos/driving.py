"""Starts drivers, several at a time: each run is a process of its own, with all it needs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.fleet import ROOT
from tests.chaos.report import Report

_ENDS_WITHIN = 400.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A run to be done; ``jobs`` 0 are as many as the profile has."""

    profile: str
    seed: int = 1
    jobs: int = 0
    without: str = ""

    @property
    def arguments(self) -> list[str]:
        """What the driver is started with."""
        return [
            *(self.profile, "--seed", str(self.seed), "--jobs", str(self.jobs)),
            *("--without", self.without),
        ]


async def drive(plans: Sequence[Plan], *, at_once: int) -> list[Report]:
    """Return the report of each plan; those that take longest should come first.

    Raises:
        RuntimeError: a driver ended without a report; its output is told.
    """
    places = asyncio.Semaphore(at_once)

    async def one(plan: Plan) -> Report:
        async with places:
            return await _drive_one(plan)

    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(one(plan)) for plan in plans]
    return [run.result() for run in runs]


async def _drive_one(plan: Plan) -> Report:
    with TemporaryDirectory(prefix="chaos-") as folder:
        report = Path(folder) / "report.json"
        driver = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.drive", *plan.arguments, "--out", str(report)),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                output, _ = await driver.communicate()
        finally:
            if driver.returncode is None:
                driver.kill()
                await driver.wait()
        if driver.returncode != 0 or not report.exists():
            raise RuntimeError(f"{plan} ended with {driver.returncode}:\n{output.decode()}")
        return Report.read(report)
