"""``python -m tests.chaos.drive PROFILE``: one run, from an empty Redis to a report."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from redispatcher_fastapi import JobState, Redispatcher, RedispatcherConfig
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.types import EngineSettings
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.clock import ServerClock
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import RedispatcherError
from tests.chaos.clock import Clock, build_library
from tests.chaos.faults import World, do_harm
from tests.chaos.fleet import Fleet
from tests.chaos.journal import VARIABLE, Journal
from tests.chaos.judging import Judge, read_final
from tests.chaos.profiles import PROFILES, Profile
from tests.chaos.report import Report
from tests.chaos.traffic import Callers
from tests.chaos.worker import remove_dedupe
from tests.chaos.workload import QUEUES
from tests.leaks import find_leftovers
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import wait_until

#: Where that of a run is kept which broke a promise.
_KEPT = Path("build") / "chaos"
LEASE = timedelta(seconds=2)
GRACE = timedelta(seconds=8)
_PROGRESSES_WITHIN = 30.0
_LOOKS_EVERY = 0.1
_LIVE = (JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING)


class Run:
    """One profile with one seed."""

    def __init__(self, name: str, seed: int, folder: Path, *, jobs: int, without: str) -> None:
        profile = PROFILES[name]
        if jobs:
            seconds = profile.seconds * jobs / profile.jobs
            profile = replace(profile, jobs=jobs, seconds=seconds)
        self._profile: Profile = profile
        self._folder = folder
        self._without = without
        self._chance = random.Random(f"{name} {seed}")
        self._report = Report(profile=name, seed=seed, without=without)
        self._journal = Journal(folder / "journal")

    async def run(self) -> Report:
        """Return what came of it."""
        begun = time.monotonic()
        async with AsyncExitStack() as stack:
            world = await self._build(stack)
            callers = await self._make_callers(stack, world)
            inspector = await self._enter(stack, world.server.dsn)
            published = asyncio.Event()
            async with world.fleet.running():
                async with asyncio.TaskGroup() as tasks:
                    harm = tasks.create_task(
                        do_harm(
                            world,
                            self._profile.faults,
                            every=self._profile.every,
                            until=published,
                        )
                    )
                    await callers.run()
                    published.set()
                harms = harm.result()
                self._report.faults = dict(Counter(each.fault for each in harms))
                await self._wait_until_drained(inspector)
                late = await world.fleet.stop(within=(GRACE + 2 * LEASE).total_seconds() + 10)
                for member in late:
                    self._report.break_promise("stops-in-time", f"process {member.pid} did not")
            with world.server.client(timeout=timedelta(seconds=30)) as client:
                final = read_final(client)
            judge = Judge(
                self._profile,
                LEASE,
                report=self._report,
                traffic=callers.traffic,
                journal=self._journal,
                fleet=world.fleet,
                harms=harms,
            )
            judge.judge(final)
            await self._forget_everything(world.server)
        self._report.seconds = time.monotonic() - begun
        return self._report

    async def _build(self, stack: AsyncExitStack) -> World:
        profile = self._profile
        library = build_library(self._folder) if profile.needs_clocks else self._folder
        clock = Clock(library, self._folder / "clock") if profile.steps_clock else None
        (self._folder / "redis").mkdir()
        server = RedisServer(
            self._folder / "redis",
            is_durable=profile.is_persistent,
            environment=None if clock is None else clock.environment,
        )
        stack.enter_context(server)
        proxy = stack.enter_context(Proxy(server.port))
        fleet = Fleet(
            self._folder,
            self._journal,
            {
                VARIABLE: str(self._journal.path),
                "REDISPATCHER_REDIS_DSN": proxy.dsn,
                "CHAOS_LEASE": str(LEASE.total_seconds()),
                "CHAOS_GRACE": str(GRACE.total_seconds()),
                "CHAOS_WITHOUT": "" if self._without == "dedupe" else self._without,
            },
            size=profile.workers,
            clocks=[
                Clock(library, self._folder / f"clock-{number}", seconds=hours * 3600)
                for number, hours in enumerate(profile.clocks)
            ],
            chance=self._chance,
        )
        return World(server, proxy, fleet, LEASE, clock, self._chance)

    async def _make_callers(self, stack: AsyncExitStack, world: World) -> Callers:
        if self._without == "dedupe":
            remove_dedupe()
        dispatcher = await self._enter(stack, world.proxy.dsn)
        return Callers(dispatcher, self._profile, LEASE, self._chance)

    async def _enter(self, stack: AsyncExitStack, dsn: str) -> Redispatcher:
        dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=dsn))
        await stack.enter_async_context(dispatcher.lifespan())
        return dispatcher

    async def _wait_until_drained(self, dispatcher: Redispatcher) -> None:
        """Return once no job is left, or once no further one has ended for a long time."""
        left, since = -1, time.monotonic()
        while left:
            with suppress(RedispatcherError):  # the last fault is not over yet
                counts = [await dispatcher.inspector.counts(queue) for queue in QUEUES]
                now_left = sum(each[state] for each in counts for state in _LIVE)
                if now_left != left:
                    left, since = now_left, time.monotonic()
            if time.monotonic() - since > _PROGRESSES_WITHIN:
                self._report.break_promise("ends-everything", f"{left} jobs are left for ever")
                return
            await asyncio.sleep(_LOOKS_EVERY)

    async def _forget_everything(self, server: RedisServer) -> None:
        """Let all retention pass: then only counters may be left, and what expires by itself."""
        nothing = timedelta(milliseconds=1)
        settings = EngineSettings(
            lease=LEASE,
            publish_timeout=timedelta(0),
            finished_max_age=nothing,
            finished_max_count=0,
            dead_max_age=nothing,
            dead_max_count=0,
            chosen_id_memory=nothing,
        )
        async with Connections(parse_dsn(server.dsn)) as connections:
            broker = WorkerBroker(connections, settings, ServerClock())

            async def is_done() -> bool:
                kept = await broker.upkeep(QUEUES)
                return not kept.has_more and kept.next_end is None

            async def is_empty() -> bool:
                await broker.upkeep(QUEUES)
                # The last process that takes its leave takes along what belongs to all.
                holders = dict.fromkeys(QUEUES, "last")
                await broker.renew(holders)
                await broker.depart(holders)
                return not _find_leftovers(server)

            await wait_until(is_done, timeout=5 * LEASE)
            with suppress(AssertionError):
                await wait_until(is_empty)
        for key in _find_leftovers(server):
            self._report.break_promise("leaves-nothing", f"{key} stays for ever")


def _find_leftovers(server: RedisServer) -> list[str]:
    with server.client() as client:
        return [key for key in find_leftovers(client) if client.execute_command("PTTL", key) == -1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--without", default="")
    parser.add_argument("--out", type=Path, help="where the report is written to")
    parser.add_argument("--keep", type=Path, help="where logs and the journal are kept")
    options = parser.parse_args()
    # What is told of a publisher's troubles is meant for its application.
    logging.getLogger("redispatcher").setLevel(logging.CRITICAL)
    os.environ.pop("REDISPATCHER_REDIS_DSN", None)
    with TemporaryDirectory(prefix="chaos-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(options.profile, options.seed, folder, jobs=options.jobs, without=options.without)
        report = asyncio.run(run.run())
        if report.violations and not options.keep and not options.without:
            kept = _KEPT / f"{options.profile}-{options.seed}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            report.kept = str(kept)
    if options.out is not None:
        report.write(options.out)
    print(report.describe())  # noqa: T201


if __name__ == "__main__":
    main()
