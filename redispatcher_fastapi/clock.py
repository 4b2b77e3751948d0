"""Where the engine's time comes from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1 to 9999, which is what a datetime can hold, in milliseconds since 1970.
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
#: No job waits for longer: nobody means it, and far beyond it times could not be read any more.
LONGEST_DELAY = timedelta(days=36_525)


class Clock(Protocol):
    """Tells every script what time it is."""

    def now(self) -> datetime | None:
        """Return the time to use, or ``None`` for the Redis server's own clock."""
        ...


class ServerClock:
    """The clock of the Redis server, read inside each script: no worker's clock matters."""

    def now(self) -> datetime | None:
        return None


def to_milliseconds(value: timedelta | datetime) -> int:
    """Return the whole milliseconds of a duration, or of an aware time since 1970."""
    if isinstance(value, datetime):
        value = value - _EPOCH
    return value // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    """Return the UTC time that is ``value`` milliseconds after 1970, or the nearest there is.

    What Redis holds may have been written by anybody, and one such job must not hide the others.
    """
    return _EPOCH + timedelta(milliseconds=min(max(value, _FIRST), _LAST))
