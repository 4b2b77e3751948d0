from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from redispatcher_fastapi import ConfigurationError
from redispatcher_fastapi.testing import FakeClock


def test_a_clock_stands_still_at_a_fixed_time() -> None:
    clock = FakeClock()

    assert clock.now() == clock.now() == datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_a_clock_starts_where_the_test_says_without_parts_of_a_millisecond() -> None:
    zone = timezone(timedelta(hours=2))

    clock = FakeClock(datetime(2031, 5, 6, 2, 0, 0, 1999, tzinfo=zone))

    assert clock.now() == datetime(2031, 5, 6, 0, 0, 0, 1000, tzinfo=UTC)


def test_a_clock_moves_by_a_duration_and_to_a_time() -> None:
    clock = FakeClock()
    start = clock.now()

    assert clock.advance(timedelta(minutes=3)) == start + timedelta(minutes=3) == clock.now()
    assert clock.advance_to(start + timedelta(hours=1)) == clock.now() == start + timedelta(hours=1)


def test_a_clock_that_moves_to_a_time_is_never_before_it() -> None:
    clock = FakeClock()
    time = clock.now() + timedelta(microseconds=1)

    assert clock.advance_to(time) == clock.now() == time + timedelta(microseconds=999)


def test_a_clock_refuses_to_go_back() -> None:
    clock = FakeClock()

    with pytest.raises(ConfigurationError, match="does not go back"):
        clock.advance(timedelta(seconds=-1))


def test_a_clock_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(ConfigurationError, match="tzinfo=UTC"):
        FakeClock(datetime(2030, 1, 1))  # what is to be refused
