"""The part of a schedule that says when: checked once, and kept in Redis as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.errors import InvalidScheduleError
from redispatcher_fastapi.schedules.calendar import (
    Cron,
    Interval,
    find_problem,
    read_zone,
)

_SHORTEST = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_MOST = 1000


class Overlap(StrEnum):
    """What becomes of a tick while the schedule's previous job is not finished.

    ``ALLOW``: its job is published all the same. ``SKIP``: it is passed over. ``QUEUE``: it waits
    for that job's end; of several that wait so, only the newest.
    """

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Misfire:
    """What becomes of ticks that nobody noticed in time, as no pool ran or Redis was away.

    Made by :meth:`skip`, :meth:`latest` and :meth:`all`.
    """

    #: How many of them run at most, the newest.
    count: int
    #: Whether even that one does not when it is more than a minute late.
    is_strict: bool = False

    @classmethod
    def skip(cls) -> Misfire:
        """A tick that is more than a minute late does not run, nor one before the last."""
        return cls(1, is_strict=True)

    @classmethod
    def latest(cls) -> Misfire:
        """Of all that were missed, the last one runs, however late."""
        return cls(1)

    @classmethod
    def all(cls, count: int) -> Misfire:
        """The last ``count`` of those that were missed run, oldest first.

        Raises:
            InvalidScheduleError: ``count`` is not a number from 1 to 1,000.
        """
        given: Any = count
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= _MOST:
            raise InvalidScheduleError(
                f"Misfire.all() takes how many ticks run at most, 1 to {_MOST}, not {given!r:.80}."
            )
        return cls(count)

    def __str__(self) -> str:
        if self.is_strict:
            return "skip"
        return "latest" if self.count == 1 else f"all({self.count})"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule ticks, and what becomes of its ticks."""

    calendar: Cron | Interval
    misfire: Misfire
    overlap: Overlap
    jitter: timedelta


def make_timing(owner: str, values: dict[str, Any]) -> Timing:
    """Return the timing of a schedule from what its author wrote, ``None`` standing for defaults.

    Raises:
        InvalidScheduleError: naming the ``owner`` and what to change.
    """
    cron, every, tz = values.get("cron"), values.get("every"), values.get("tz")
    if (cron is None) == (every is None):
        raise InvalidScheduleError(
            f"{owner} needs either a cron expression or an interval: cron='0 3 * * *', or "
            "every=timedelta(...)."
        )
    calendar = _read_cron(owner, cron, tz) if every is None else _read_interval(owner, every, tz)
    misfire = values.get("misfire") or Misfire.latest()
    if not isinstance(misfire, Misfire):
        raise InvalidScheduleError(
            f"{owner} takes Misfire.skip(), Misfire.latest() or Misfire.all(n) as its misfire, not "
            f"{misfire!r:.80}."
        )
    try:
        overlap = Overlap(values.get("overlap") or Overlap.ALLOW)
    except ValueError:
        raise InvalidScheduleError(
            f"{owner} takes Overlap.ALLOW, Overlap.SKIP or Overlap.QUEUE as its overlap, not "
            f"{values['overlap']!r:.80}."
        ) from None
    jitter = values.get("jitter")
    if jitter is None:
        jitter = timedelta()
    if not isinstance(jitter, timedelta) or not timedelta() <= jitter <= LONGEST_DELAY:
        raise InvalidScheduleError(
            f"{owner} takes a timedelta that is not negative as its jitter, not {jitter!r:.80}."
        )
    return Timing(calendar, misfire, overlap, jitter)


def _read_cron(owner: str, cron: Any, tz: Any) -> Cron:
    if not isinstance(cron, str):
        raise InvalidScheduleError(f"{owner} takes a text as its cron, not {cron!r:.80}.")
    if tz is not None and (not isinstance(tz, str) or read_zone(tz) is None):
        raise InvalidScheduleError(
            f"{owner}: there is no time zone {tz!r:.80} here. Use a name such as 'Europe/Oslo'; "
            "where the system has none, install the package tzdata."
        )
    read = Cron(cron, tz or "UTC")
    problem = find_problem(read)
    if problem is not None:
        raise InvalidScheduleError(
            f"{owner}: the cron expression {cron!r:.80} cannot be used: {problem}."
        )
    return read


def _read_interval(owner: str, every: Any, tz: Any) -> Interval:
    if tz is not None:
        raise InvalidScheduleError(
            f"{owner} has an interval, which passes alike in all time zones: leave out its tz, or "
            "use cron."
        )
    if not isinstance(every, timedelta):
        raise InvalidScheduleError(
            f"{owner} takes a timedelta as its every, as in timedelta(hours=2), not {every!r:.80}."
        )
    if not _SHORTEST <= every <= LONGEST_DELAY or every % _MILLISECOND:
        raise InvalidScheduleError(
            f"{owner} takes an interval of a second or more, in whole milliseconds, not {every}."
        )
    return Interval(every)
