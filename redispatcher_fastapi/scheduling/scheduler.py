"""Makes the jobs of schedules that are due; every pool does, none leads."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.scheduling import Declaration, Firing
from redispatcher_fastapi.describing import log_exception, shown_id
from redispatcher_fastapi.errors import InvalidScheduleError, SealError
from redispatcher_fastapi.schedules import plan
from redispatcher_fastapi.schedules.schedule import check_schedule_id
from redispatcher_fastapi.schedules.ticks import job_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from redispatcher_fastapi.broker.scheduling import Look, ScheduleBroker, ScheduleEntry
    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.schedules import Timing
    from redispatcher_fastapi.scheduling.timetable import Timetable

logger = logging.getLogger("redispatcher.pool")

_BLOCKED_WAIT = timedelta(seconds=1)
_AT_ONCE = 100
_JOBS_AT_ONCE = 500
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class FiredJob:
    """A job that this process made for a schedule."""

    queue: str
    submission: Submission


@dataclass(slots=True)
class Round:
    """What one look at the schedules brought, and how long nothing is due; ``None`` for ever."""

    wait: timedelta | None = None
    fired: list[FiredJob] = field(default_factory=list[FiredJob])

    def shorten(self, wait: timedelta | None) -> None:
        if wait is not None and (self.wait is None or wait < self.wait):
            self.wait = wait


class Scheduler:
    """Looks after the schedules of queues that are on one server.

    All it knows of the time is what Redis says.
    """

    def __init__(
        self,
        broker: ScheduleBroker,
        timetables: Sequence[Timetable],
        *,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._broker = broker
        self._timetables = {each.queue: each for each in timetables}
        self._versions = {each.queue: each.version for each in timetables}
        self._began: dict[str, datetime] = {}
        self._random = random
        #: Revisions of schedules that were told of as impossible.
        self._reported: set[str] = set()

    async def look(self) -> Round:
        """Declare what is to be declared, make the jobs that are due, and say when to look again.

        Raises:
            BrokerError: Redis gives no answer; calling again is safe.
        """
        looks = await self._broker.look(self._versions, began=self._began)
        round_ = Round()
        for queue, look in looks.items():
            self._began.setdefault(queue, look.now)
            if look.must_declare:
                await self._declare(self._timetables[queue], look)
                round_.shorten(timedelta())
                continue
            round_.shorten(look.wait)
            if look.due:
                await self._fire(self._timetables[queue], look, round_)
        return round_

    async def _declare(self, timetable: Timetable, look: Look) -> None:
        ids = [each.id for each in timetable.declared]
        now, known = await self._broker.read(timetable.queue, ids)
        declarations: list[Declaration] = []
        for each in timetable.declared:
            entry = known.get(each.id)
            is_same = (
                entry is not None
                and entry.is_declared
                and timetable.holds(each.id, entry.definition, each.definition)
            )
            declarations.append(
                Declaration(
                    each.id,
                    None if is_same else timetable.seal(each.id, each.definition),
                    each.timing.calendar.after(now),
                    keeps_tick=is_same or _ticks_alike(timetable, each.timing, entry),
                )
            )
        is_done = await self._broker.declare(timetable.queue, timetable.version, declarations)
        if is_done:
            changed = [each.id for each in declarations if each.definition is not None]
            logger.info(
                "Declared %d schedule(s) for queue %s, of which %d are new or changed.",
                len(declarations),
                timetable.queue,
                len(changed),
                extra={"queue": timetable.queue},
            )

    async def _fire(self, timetable: Timetable, look: Look, round_: Round) -> None:
        firings: list[Firing] = []
        for entry in look.due:
            firing = self._prepare(timetable, entry, look.now)
            if firing is not None:
                firings.append(firing)
        for chunk in _chunks(firings):
            answers = await self._broker.fire(timetable.queue, chunk)
            for firing, answer in zip(chunk, answers, strict=True):
                self._note(timetable, firing, answer, look.now, round_)

    def _prepare(self, timetable: Timetable, entry: ScheduleEntry, now: datetime) -> Firing | None:
        """Return what is to become of a schedule that is due; ``None`` if nothing can."""
        tick = entry.tick
        if tick is None:
            return None
        try:
            check_schedule_id(entry.id)
            stored = timetable.read(entry.id, entry.definition)
            timing = stored.timing
            todo = plan(timing, tick=tick, now=now, is_waiting=entry.state.is_waiting)
            submissions = [
                timetable.submit(
                    stored.body, job_id_of(entry.id, each), self._jitter(timing.jitter)
                )
                for each in todo.ticks
            ]
        except Exception as error:  # of a cipher, a validator or headers of the user's
            self._report(timetable, entry, error)
            return None
        newest = todo.ticks[-1] if todo.ticks else tick
        return Firing(entry, tick, todo.next, newest, timing.overlap, todo.passed_over, submissions)

    def _note(
        self, timetable: Timetable, firing: Firing, answer: str, now: datetime, round_: Round
    ) -> None:
        where = {"queue": timetable.queue, "schedule": firing.entry.id}
        if answer in {"wait", "full"}:
            round_.shorten(_BLOCKED_WAIT)
            if answer == "full":
                logger.warning(
                    "Queue %s is full: schedule %s waits.",
                    timetable.queue,
                    where["schedule"],
                    extra=where,
                )
            return
        if firing.next is not None:
            round_.shorten(firing.next - now)
        if answer == "stale":
            return
        if firing.passed_over or answer == "over":
            logger.warning(
                "Schedule %s of queue %s: %d tick(s) passed over.",
                firing.entry.id,
                timetable.queue,
                firing.passed_over + (len(firing.submissions) if answer == "over" else 0),
                extra=where,
            )
        if answer != "over":
            round_.fired += [
                FiredJob(timetable.queue, submission)
                for submission, is_new in zip(firing.submissions, answer, strict=True)
                if is_new == "1"
            ]

    def _report(self, timetable: Timetable, entry: ScheduleEntry, error: Exception) -> None:
        if entry.revision in self._reported:
            return
        self._reported.add(entry.revision)
        log_exception(
            logger,
            error,
            "Schedule %s of queue %s cannot run: declare it again, or delete it.",
            shown_id(entry.id),
            timetable.queue,
        )

    def _jitter(self, longest: timedelta) -> timedelta | None:
        delay = longest * self._random()
        return delay if delay >= _MILLISECOND else None


def _ticks_alike(timetable: Timetable, timing: Timing, entry: ScheduleEntry | None) -> bool:
    """Whether a schedule that is changed ticks as it did before, and so need miss nothing."""
    if entry is None:
        return False
    try:
        return timetable.read(entry.id, entry.definition).timing.calendar == timing.calendar
    except (InvalidScheduleError, SealError):
        return False


def _chunks(firings: Sequence[Firing]) -> Iterator[list[Firing]]:
    """Split what would keep Redis busy for too long."""
    chunk: list[Firing] = []
    jobs = 0
    for firing in firings:
        count = len(firing.submissions)
        if chunk and (len(chunk) >= _AT_ONCE or jobs + count > _JOBS_AT_ONCE):
            yield chunk
            chunk, jobs = [], 0
        chunk.append(firing)
        jobs += count
    if chunk:
        yield chunk
