"""What is to be done about a schedule that is due: which ticks run, and when the next one is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from redispatcher_fastapi.schedules.timing import Overlap

if TYPE_CHECKING:
    from datetime import datetime

    from redispatcher_fastapi.schedules.timing import Timing

#: What is later than this was missed.
LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ticks that run, oldest first; how many do not; and the next one, if there is any."""

    ticks: tuple[datetime, ...]
    passed_over: int
    next: datetime | None


def plan(timing: Timing, *, tick: datetime, now: datetime, is_waiting: bool = False) -> Plan:
    """Return what becomes of the ticks from ``tick`` to ``now``, both by the clock of Redis.

    ``is_waiting``: ``tick`` was noticed in time, and has waited since for the job before it.
    """
    calendar, misfire = timing.calendar, timing.misfire
    # Who is not to run beside another cannot run twice at once either.
    most = misfire.count if timing.overlap is Overlap.ALLOW else 1
    ticks = calendar.newest(most, since=tick, until=now)
    if misfire.is_strict and not is_waiting:
        ticks = [each for each in ticks if now - each <= LATE]
    total = calendar.count(since=tick, until=now)
    return Plan(tuple(ticks), max(0, total - len(ticks)), calendar.after(now))
