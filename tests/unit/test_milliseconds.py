"""The one place where times turn into milliseconds and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds


@pytest.mark.parametrize(
    "time", [datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)]
)
def test_a_time_comes_back(time: datetime) -> None:
    assert from_milliseconds(to_milliseconds(time)) == time


def test_a_time_that_no_datetime_can_hold_is_the_nearest_that_can() -> None:
    assert from_milliseconds(10**30) > datetime.max.replace(tzinfo=UTC) - timedelta(seconds=1)
    assert from_milliseconds(-(10**30)) == datetime.min.replace(tzinfo=UTC)
