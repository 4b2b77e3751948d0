"""Publishes as an application would, and keeps what it was told about each job."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import repeat

from redispatcher_fastapi import (
    Job,
    JobState,
    Priority,
    Publisher,
    PublishUncertainError,
    QueueFullError,
    Redispatcher,
    RedispatcherError,
    Unique,
)
from tests.chaos.profiles import Profile
from tests.chaos.workload import POISON, Entry, Errand, Kind, Visit, Work, make_work

_Publish = Callable[[str | None], Awaitable[Job[str]]]

_HARMFUL: frozenset[Kind] = frozenset({*POISON, "long", "block"})
_CALLERS = 25
_ERRANDS = 0.1
_BULK = 0.02
_BULK_SIZE = 10
_DELAYED = 0.1
_PAUSE_WHEN_FULL = 0.05


@dataclass(slots=True)
class Published:
    """A job whose publish was acknowledged; ``key`` is what it must not share with others."""

    kind: Kind
    queue: str
    at: float
    key: str = ""


@dataclass(slots=True)
class Traffic:
    """What came of publishing."""

    jobs: dict[str, Published] = field(default_factory=dict[str, Published])
    #: Ids of publishes that raised that the outcome is unknown; each was repeated until known.
    uncertain: set[str] = field(default_factory=set[str])
    refused_as_full: int = 0
    longest: float = 0.0
    #: Whatever else a publish raised.
    errors: list[str] = field(default_factory=list[str])


class Callers:
    """A number of concurrent callers that publish a profile's jobs over its time."""

    def __init__(
        self, dispatcher: Redispatcher, profile: Profile, lease: timedelta, chance: random.Random
    ) -> None:
        self._work: Publisher[Work] = dispatcher.publisher(Work)
        self._errands: Publisher[Errand] = dispatcher.publisher(Errand)
        self._visits: Publisher[Visit] = dispatcher.publisher(Visit)
        self._entries: Publisher[Entry] = dispatcher.publisher(Entry)
        #: Only who publishes one after the other can say which was first.
        self._accounts = {name: asyncio.Lock() for name in ("north", "south")}
        self._profile = profile
        self._lease = lease
        self._chance = chance
        self.traffic = Traffic()

    async def run(self) -> None:
        """Publish all."""
        kinds = deque(_kinds(self._profile.mix, self._profile.jobs, self._chance))
        total = len(kinds)
        begun = time.monotonic()

        async def call() -> None:
            while kinds:
                due = begun + self._profile.seconds * (1 - len(kinds) / total)
                kind = kinds.popleft()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if kind == "quick" and self._chance.random() < _BULK:
                    await self._publish_many(1 + _take(kinds, "quick", _BULK_SIZE - 1))
                else:
                    await self._publish(kind)

        async with asyncio.TaskGroup() as callers:
            for _ in range(_CALLERS):
                callers.create_task(call())

    async def _publish(self, kind: Kind) -> None:
        if kind == "quick" and self._chance.random() < _ERRANDS:
            message = Errand.Message(seconds=self._chance.uniform(0.0, 0.03))
            await self._insist(kind, lambda job_id: self._errands.publish(message, id=job_id))
            return
        if kind in {"limited", "unique"}:
            await self._visit(kind)
            return
        if kind == "ordered":
            await self._enter()
            return
        work = make_work(kind, self._lease, self._chance)
        priority = self._chance.choice(list(Priority)) if kind == "quick" else Priority.NORMAL
        if kind == "expiring":
            expires = timedelta(seconds=self._chance.uniform(0.005, 0.05))
            await self._insist(
                kind,
                lambda job_id: self._work.publish(
                    work, id=job_id, expires=expires, priority=Priority.LOW
                ),
            )
            return
        delay = None
        if self._chance.random() < _DELAYED:
            delay = timedelta(seconds=self._chance.uniform(0.0, 1.5))
        job = await self._insist(
            kind, lambda job_id: self._work.publish(work, id=job_id, delay=delay, priority=priority)
        )
        if kind == "cancelled" and job is not None:
            await asyncio.sleep(self._chance.uniform(0.0, 0.5))
            await _cancel(job)

    async def _visit(self, kind: Kind) -> None:
        host, name = self._chance.choice("xy"), self._chance.choice("ab")
        message = Visit.Message(host=host, name=name, seconds=self._chance.uniform(0.05, 0.15))
        unique = Unique(fields=("name",)) if kind == "unique" else None
        await self._insist(
            kind,
            lambda job_id: self._visits.publish(message, id=job_id, unique=unique),
            key=f"{host} {name}",
        )

    async def _enter(self) -> None:
        account = self._chance.choice(list(self._accounts))
        is_failing, seconds = self._chance.random() < 0.3, self._chance.uniform(0.02, 0.06)
        message = Entry.Message(account=account, is_failing=is_failing, seconds=seconds)
        async with self._accounts[account]:
            await self._insist(
                "ordered", lambda job_id: self._entries.publish(message, id=job_id), key=account
            )

    async def _insist(self, kind: Kind, publish: _Publish, *, key: str = "") -> Job[str] | None:
        """Do what the documentation advises until there is an answer: repeat with the same id."""
        job_id: str | None = None
        while True:
            begun = time.monotonic()
            try:
                job = await publish(job_id)
            except PublishUncertainError as error:
                (job_id,) = error.job_ids
                self.traffic.uncertain.add(job_id)
            except QueueFullError:
                self.traffic.refused_as_full += 1
                await asyncio.sleep(_PAUSE_WHEN_FULL)
            except Exception as error:
                self.traffic.errors.append(repr(error))
                return None
            else:
                self._note(kind, job, key)
                return job
            finally:
                self._note_time(begun)

    async def _publish_many(self, count: int) -> None:
        message = make_work("quick", self._lease, self._chance)
        begun = time.monotonic()
        try:
            jobs = await self._work.publish_many([message] * count)
        except PublishUncertainError as error:
            self.traffic.uncertain.update(error.job_ids)
            for job_id in error.job_ids:
                await self._insist_on("quick", message, job_id)
        except QueueFullError:
            self.traffic.refused_as_full += 1
        except Exception as error:
            self.traffic.errors.append(repr(error))
        else:
            self._note_time(begun)
            for job in jobs:
                self._note("quick", job)

    async def _insist_on(self, kind: Kind, message: Work.Message, job_id: str) -> None:
        await self._insist(kind, lambda again: self._work.publish(message, id=again or job_id))

    def _note(self, kind: Kind, job: Job[str], key: str = "") -> None:
        published = Published(kind, job.queue, time.monotonic(), key)
        self.traffic.jobs.setdefault(job.id, published)

    def _note_time(self, begun: float) -> None:
        self.traffic.longest = max(self.traffic.longest, time.monotonic() - begun)


async def _cancel(job: Job[str]) -> None:
    """Cancel until it is: whoever asked for it gets an answer, whatever happens to Redis."""
    while True:
        try:
            await job.cancel()
            if await job.state() in {JobState.CANCELLED, None}:
                return
        except RedispatcherError:
            pass
        await asyncio.sleep(0.1)


def _take(kinds: deque[Kind], kind: Kind, most: int) -> int:
    """Take up to so many of one kind off the front, and return how many there were."""
    count = 0
    while count < most and kinds and kinds[0] == kind:
        kinds.popleft()
        count += 1
    return count


def _kinds(mix: Mapping[Kind, int], count: int, chance: random.Random) -> list[Kind]:
    """Return ``count`` kinds in these shares, in random order; none of the mix is left out."""
    total = sum(mix.values())
    harmless: list[Kind] = []
    harmful: list[Kind] = []
    for kind, share in mix.items():
        kinds = harmful if kind in _HARMFUL else harmless
        kinds.extend(repeat(kind, max(1, round(count * share / total))))
    chance.shuffle(harmless)
    # What harms comes early: there must be time left to recover.
    last = max(1, int(0.7 * count))
    for kind in harmful:
        harmless.insert(chance.randrange(last), kind)
    return harmless
