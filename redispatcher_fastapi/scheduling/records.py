"""A schedule as its operator sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.errors import InvalidScheduleError, SealError
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.schedules import Cron, Interval

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from redispatcher_fastapi.broker.scheduling import ScheduleEntry
    from redispatcher_fastapi.schedules import Misfire, Overlap
    from redispatcher_fastapi.scheduling.timetable import Timetable


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """One schedule as it is in Redis at one moment.

    With a ``problem`` it does not run: it cannot be read here, and what it says is ``None``.
    """

    id: str
    queue: str
    #: Whether the code of a pool declares it, rather than somebody at run time.
    is_declared: bool
    is_paused: bool
    #: Whether a tick waits for the end of the job before it (``Overlap.QUEUE``).
    is_waiting: bool
    #: The next tick, in the past for one that is being dealt with; ``None`` while it is paused.
    next_run_at: datetime | None
    #: The newest tick that was dealt with, and the job that was made last.
    last_tick: datetime | None
    last_job_id: str | None
    #: Of ticks, and by ``run_now``.
    jobs_made: int
    #: Ticks that did not run: missed, or passed over while the job before them was not finished.
    passed_over: int
    message: Any = field(repr=False)
    misfire: Misfire | None
    overlap: Overlap | None
    jitter: timedelta | None
    problem: str | None
    calendar: Cron | Interval | None

    @property
    def cron(self) -> str | None:
        return self.calendar.expression if isinstance(self.calendar, Cron) else None

    @property
    def tz(self) -> str | None:
        return self.calendar.tz if isinstance(self.calendar, Cron) else None

    @property
    def every(self) -> timedelta | None:
        return self.calendar.every if isinstance(self.calendar, Interval) else None

    def next_runs(self, count: int) -> list[datetime]:
        """Return the next ticks, in UTC; none while it is paused."""
        ticks: list[datetime] = []
        tick = self.next_run_at
        while tick is not None and self.calendar is not None and len(ticks) < count:
            ticks.append(tick)
            tick = self.calendar.after(tick)
        return ticks


def make_record(timetable: Timetable, entry: ScheduleEntry) -> ScheduleRecord:
    """Return what Redis holds of a schedule, as far as it can be read here."""
    message: Any = None
    timing, problem = None, None
    try:
        stored = timetable.read(entry.id, entry.definition)
    except (InvalidScheduleError, SealError) as error:
        problem = str(error)
    else:
        timing = stored.timing
        try:
            message = timetable.decode(stored.body)
        except EnvelopeError as error:
            problem = f"Its message does not fit the consumer any more: {error}"
    return ScheduleRecord(
        id=entry.id,
        queue=timetable.queue,
        is_declared=entry.is_declared,
        is_paused=entry.state.is_paused,
        is_waiting=entry.state.is_waiting,
        next_run_at=entry.tick,
        last_tick=entry.state.last_tick,
        last_job_id=entry.state.last_job_id,
        jobs_made=entry.state.made,
        passed_over=entry.state.passed_over,
        message=message,
        misfire=None if timing is None else timing.misfire,
        overlap=None if timing is None else timing.overlap,
        jitter=None if timing is None else timing.jitter,
        problem=problem,
        calendar=None if timing is None else timing.calendar,
    )
