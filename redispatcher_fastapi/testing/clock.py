"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds
from redispatcher_fastapi.errors import ConfigurationError

_START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """Starts at noon of 1 January 2030 (UTC), or at an aware time of the test's choice.

    Like the engine's own times, it has no parts of a millisecond.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._now = _checked(start)

    def now(self) -> datetime:
        """Return the time that it is."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move on and return the new time."""
        return self.advance_to(self._now + by)

    def advance_to(self, time: datetime) -> datetime:
        """Move on to an aware time and return it, rounded up to whole milliseconds."""
        time = _checked(time, round_up=True)
        if time < self._now:
            raise ConfigurationError(
                f"A clock does not go back: it is {self._now.isoformat()}, and {time.isoformat()} "
                "is over."
            )
        self._now = time
        return time

    def __repr__(self) -> str:
        return f"FakeClock({self._now.isoformat()!r})"


def _checked(time: datetime, *, round_up: bool = False) -> datetime:
    if time.utcoffset() is None:
        raise ConfigurationError(
            f"{time.isoformat()} could be in any time zone: give it one, as in tzinfo=UTC."
        )
    milliseconds = to_milliseconds(time)
    if round_up and from_milliseconds(milliseconds) < time:
        milliseconds += 1
    return from_milliseconds(milliseconds)
