"""When a schedule ticks: by a cron expression in a time zone, or at an interval since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND = timedelta(seconds=1)
_FIELDS = 5
_RANGES = (
    "minute (0-59), hour (0-23), day of the month (1-31), month (1-12), "
    "day of the week (0-6, Sunday first)"
)
#: Ticks that were missed are counted up to here: a cron expression has to be asked for each.
COUNTED = 1000
_FIRST_WINDOW = timedelta(minutes=1)


class Calendar(Protocol):
    """All ticks there will ever be; the same in every process, for no clock is asked."""

    def after(self, time: datetime) -> datetime | None:
        """Return the first tick after an aware time, in UTC; ``None`` when there is none."""
        ...

    def newest(self, count: int, *, since: datetime, until: datetime) -> list[datetime]:
        """Return the newest ticks of a time, its beginning and its end included, oldest first."""
        ...

    def count(self, *, since: datetime, until: datetime) -> int:
        """Return how many ticks a time has; a cron expression counts no further than 1,000."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Ticks at the multiples of an interval since 1970, so that all processes agree on them."""

    every: timedelta

    def after(self, time: datetime) -> datetime | None:
        every = to_milliseconds(self.every)
        return from_milliseconds((to_milliseconds(time) // every + 1) * every)

    def newest(self, count: int, *, since: datetime, until: datetime) -> list[datetime]:
        first, last = self._bounds(since, until)
        every = to_milliseconds(self.every)
        numbers = range(max(first, last - count + 1), last + 1)
        return [from_milliseconds(number * every) for number in numbers]

    def count(self, *, since: datetime, until: datetime) -> int:
        first, last = self._bounds(since, until)
        return max(0, last - first + 1)

    def _bounds(self, since: datetime, until: datetime) -> tuple[int, int]:
        every = to_milliseconds(self.every)
        return -(-to_milliseconds(since) // every), to_milliseconds(until) // every


@dataclass(frozen=True, slots=True)
class Cron:
    """Ticks of a cron expression by the wall clock of one time zone.

    As in Debian's cron: a fixed time that the clock skips in spring is moved to the end of the gap,
    one that it shows twice in autumn is the first of the two; with a ``*`` in the minutes or the
    hours, each hour that really passes counts.
    """

    expression: str
    tz: str = "UTC"

    def after(self, time: datetime) -> datetime | None:
        return next(self._ticks_after(time), None)

    def newest(self, count: int, *, since: datetime, until: datetime) -> list[datetime]:
        window = _FIRST_WINDOW
        while True:
            begin = max(since, until - window) if until - since > window else since
            found = list(self._ticks_between(begin, until))
            if len(found) >= count or begin == since:
                return found[-count:] if count else []
            window *= 2

    def count(self, *, since: datetime, until: datetime) -> int:
        found = 0
        for _ in self._ticks_between(since, until):
            found += 1
            if found == COUNTED:
                break
        return found

    def _ticks_between(self, since: datetime, until: datetime) -> Iterator[datetime]:
        for tick in self._ticks_after(since - _SECOND):
            if tick > until:
                return
            if tick >= since:
                yield tick

    def _ticks_after(self, time: datetime) -> Iterator[datetime]:
        # By the wall clock the same hour comes twice in autumn: what lies behind is passed over.
        last = time
        zone = read_zone(self.tz)
        try:
            for found in CronSim(self.expression, time.astimezone(zone)):
                tick = found.astimezone(UTC)
                if tick > last:
                    last = tick
                    yield tick
        except OverflowError:  # after the year 9999
            return


def read_zone(name: str) -> tzinfo | None:
    """Return an IANA time zone, ``None`` when it is not known here."""
    if name == "UTC":
        return UTC  # which cronsim does not treat as one that has a summer
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def find_problem(cron: Cron) -> str | None:
    """Return what is wrong with a cron expression, ``None`` when it can be used."""
    expression = cron.expression
    if len(expression.split()) != _FIELDS:
        return f"it needs five fields: {_RANGES}"
    try:
        CronSim(expression, from_milliseconds(0))
    except (CronSimError, ValueError, AssertionError) as error:
        reason = str(error).rstrip(".") or "it cannot be read"
        return f"{reason}. Its fields are {_RANGES}"
    # Any time will do: four hundred years are all the same.
    if cron.after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        return "no day of the calendar fits it"
    return None
