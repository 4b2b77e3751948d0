"""When schedules tick: time zones, summer time, leap days, ends of months, and long outages."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from redispatcher_fastapi.schedules import Calendar, Cron, Interval

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]  # year, month, day and so on


def ticks(calendar: Calendar, *, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    tick = calendar.after(after)
    while tick is not None and tick <= until:
        found.append(tick)
        tick = calendar.after(tick)
    return found


class TestSummerTime:
    def test_a_time_that_is_skipped_in_spring_comes_at_the_end_of_the_gap(self) -> None:
        nightly = Cron("30 2 * * *", "Europe/Oslo")

        found = ticks(nightly, after=utc(2026, 3, 27, 12), until=utc(2026, 3, 30, 12))

        # 02:30 is 01:30 UTC in winter and 00:30 in summer; on the 29th 02:00 is followed by 03:00.
        assert found == [utc(2026, 3, 28, 1, 30), utc(2026, 3, 29, 1, 0), utc(2026, 3, 30, 0, 30)]

    def test_a_time_that_comes_twice_in_autumn_ticks_once(self) -> None:
        nightly = Cron("30 2 * * *", "Europe/Oslo")

        found = ticks(nightly, after=utc(2026, 10, 23, 12), until=utc(2026, 10, 26, 12))

        assert found == [
            utc(2026, 10, 24, 0, 30),
            utc(2026, 10, 25, 0, 30),
            utc(2026, 10, 26, 1, 30),
        ]

    def test_two_times_in_the_gap_are_one_tick(self) -> None:
        twice = Cron("15,45 2 * * *", "Europe/Oslo")

        found = ticks(twice, after=utc(2026, 3, 28, 12), until=utc(2026, 3, 29, 12))

        assert found == [utc(2026, 3, 29, 1, 0)]

    @pytest.mark.parametrize(
        ("zone", "day", "hours"),
        [
            ("Europe/Oslo", utc(2026, 3, 28, 23), 23),
            ("Europe/Oslo", utc(2026, 10, 24, 22), 25),
            ("America/New_York", utc(2026, 3, 8, 5), 23),
            ("America/New_York", utc(2026, 11, 1, 4), 25),
            ("Australia/Sydney", utc(2026, 4, 4, 13), 25),
            ("Australia/Sydney", utc(2026, 10, 3, 14), 23),
            ("Asia/Tokyo", utc(2026, 3, 28, 15), 24),
        ],
    )
    def test_every_hour_that_passes_ticks_once(self, zone: str, day: datetime, hours: int) -> None:
        hourly = Cron("0 * * * *", zone)

        found = ticks(hourly, after=day - HOUR, until=day + hours * HOUR - HOUR)

        assert found == [day + number * HOUR for number in range(hours)]

    @pytest.mark.parametrize("month", [4, 10])
    def test_a_shift_of_half_an_hour_makes_no_tick_twice(self, month: int) -> None:
        often = Cron("*/10 * * * *", "Australia/Lord_Howe")

        found = ticks(often, after=utc(2026, month, 3), until=utc(2026, month, 5))

        assert found == [utc(2026, month, 3) + timedelta(minutes=10) * n for n in range(1, 289)]

    @pytest.mark.parametrize("start", range(0, 180, 7))
    @pytest.mark.parametrize("day", [utc(2026, 3, 29), utc(2026, 10, 25)])
    @pytest.mark.parametrize("expression", ["30 2 * * *", "15,45 2,3 * * *", "*/20 2 * * *"])
    def test_the_ticks_do_not_depend_on_where_they_are_asked_for(
        self, expression: str, day: datetime, start: int
    ) -> None:
        calendar = Cron(expression, "Europe/Oslo")
        all_of_them = ticks(calendar, after=day - DAY, until=day + DAY)
        begin = day + timedelta(minutes=start)

        found = ticks(calendar, after=begin, until=day + DAY)

        assert found == [tick for tick in all_of_them if tick > begin]


class TestDates:
    def test_a_leap_day_comes_every_four_years(self) -> None:
        found = ticks(Cron("0 0 29 2 *"), after=utc(2026, 1, 1), until=utc(2033, 1, 1))

        assert found == [utc(2028, 2, 29), utc(2032, 2, 29)]

    def test_the_31st_comes_only_in_months_that_have_one(self) -> None:
        found = ticks(Cron("0 12 31 * *"), after=utc(2026, 1, 1), until=utc(2026, 6, 30))

        assert found == [utc(2026, 1, 31, 12), utc(2026, 3, 31, 12), utc(2026, 5, 31, 12)]

    def test_the_last_day_of_a_month_can_be_named(self) -> None:
        found = ticks(Cron("0 0 L * *"), after=utc(2028, 1, 1), until=utc(2028, 4, 1))

        assert found == [utc(2028, 1, 31), utc(2028, 2, 29), utc(2028, 3, 31)]

    def test_a_new_year_begins_in_each_zone_by_itself(self) -> None:
        found = [
            Cron("0 0 1 1 *", zone).after(utc(2026, 6, 1))
            for zone in ("Pacific/Auckland", "UTC", "Pacific/Honolulu")
        ]

        assert found == [utc(2026, 12, 31, 11), utc(2027, 1, 1), utc(2027, 1, 1, 10)]

    def test_after_the_last_year_there_is_nothing(self) -> None:
        assert Cron("0 0 1 1 *").after(utc(9999, 6, 1)) is None


class TestIntervals:
    def test_ticks_are_multiples_of_the_interval_since_1970(self) -> None:
        found = ticks(
            Interval(timedelta(hours=5)), after=utc(1970, 1, 1), until=utc(1970, 1, 1, 16)
        )

        assert found == [utc(1970, 1, 1, 5), utc(1970, 1, 1, 10), utc(1970, 1, 1, 15)]

    def test_milliseconds_count(self) -> None:
        assert Interval(timedelta(milliseconds=1500)).after(utc(2026, 1, 1)) == utc(
            2026, 1, 1, 0, 0, 1, 500_000
        )


CALENDARS = [
    Interval(timedelta(minutes=1)),
    Cron("* * * * *"),
    Cron("*/7 3-9 * * 1-5", "America/New_York"),
    Cron("30 2 * * *", "Europe/Oslo"),
]


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
class TestWhatWasMissed:
    @pytest.mark.parametrize("count", [1, 3, 100])
    @pytest.mark.parametrize("outage", [timedelta(seconds=30), HOUR, 3 * DAY])
    def test_the_newest_are_the_last_of_all(
        self, calendar: Calendar, count: int, outage: timedelta
    ) -> None:
        since = calendar.after(utc(2026, 3, 26, 12, 0, 30))
        assert since is not None
        until = since + outage

        found = calendar.newest(count, since=since, until=until)

        assert found == [since, *ticks(calendar, after=since, until=until)][-count:]

    def test_as_many_are_counted_as_there_are(self, calendar: Calendar) -> None:
        since = calendar.after(utc(2026, 3, 26, 12, 0, 30))
        assert since is not None
        until = since + timedelta(hours=15)

        count = calendar.count(since=since, until=until)

        assert count == len(ticks(calendar, after=since, until=until)) + 1


def test_years_without_a_pool_are_dealt_with_at_once() -> None:
    minutely, now = Cron("* * * * *", "Europe/Oslo"), utc(2026, 1, 1)
    began = time.perf_counter()

    newest = minutely.newest(2, since=utc(2016, 1, 1), until=now)
    count = minutely.count(since=utc(2016, 1, 1), until=now)

    assert newest == [now - timedelta(minutes=1), now]
    assert count == 1000
    assert time.perf_counter() - began < 1
