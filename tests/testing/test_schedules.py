"""Schedules in a test suite: made when the test says so, by the clock that it moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    Misfire,
    Overlap,
    Redispatcher,
    RedispatcherConfig,
    Retry,
    Schedule,
)
from redispatcher_fastapi.testing import FakeClock, RedispatcherTester

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Report(BaseConsumer):
    QUEUE = "reports"

    class Message(BaseConsumer.Message):
        kind: str

    SCHEDULES = (
        Schedule("nightly", Message(kind="nightly"), cron="0 3 * * *", tz="Europe/Oslo"),
        Schedule("hourly", Message(kind="hourly"), every=HOUR, misfire=Misfire.all(3)),
    )

    async def process_message(self, message: Message) -> str:
        return message.kind


class Slow(BaseConsumer):
    QUEUE = "slow"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        raise Retry(delay=timedelta(minutes=90))


@pytest.fixture
def tester() -> Iterator[RedispatcherTester]:
    skipping = Schedule("skipping", Slow.Message(), every=HOUR, overlap=Overlap.SKIP)
    dispatcher = Redispatcher(
        RedispatcherConfig(
            redis_dsn="memory://",
            consumers=[Report, ConsumerConfig(consumer_class=Slow, schedules=[skipping])],
        )
    )
    start = FakeClock(datetime(2026, 3, 28, 12, 30, tzinfo=UTC))
    with RedispatcherTester(dispatcher, clock=start, consumers=[Report]) as tester:
        yield tester


async def test_nothing_ticks_unless_it_is_asked_for(tester: RedispatcherTester) -> None:
    report = await tester.run_for(DAY)

    assert report.runs == ()


async def test_each_tick_runs_at_its_moment(tester: RedispatcherTester) -> None:
    report = await tester.run_for(DAY, schedules=True)

    assert [run.result for run in report.runs].count("hourly") == 24
    nightly = next(run for run in report.runs if run.result == "nightly")
    assert nightly.job_id == "nightly:2026-03-29T01:00:00Z"
    assert tester.published(Report)[0].published_at == datetime(2026, 3, 28, 13, tzinfo=UTC)


async def test_what_was_missed_runs_as_the_schedule_says(tester: RedispatcherTester) -> None:
    tester.advance(3 * DAY)

    report = await tester.run_until_idle(schedules=True)

    assert sorted(str(run.result) for run in report.runs) == ["hourly"] * 3 + ["nightly"]
    assert report.next_due_at is None


def test_the_same_without_a_loop(tester: RedispatcherTester) -> None:
    tester.advance(HOUR)
    assert len(tester.run_until_idle_blocking(schedules=True).runs) == 1
    assert len(tester.run_for_blocking(2 * HOUR, schedules=True).runs) == 2


async def test_the_schedules_begin_with_an_empty_store(tester: RedispatcherTester) -> None:
    tester.advance(3 * DAY)
    tester.clear()

    assert (await tester.run_until_idle(schedules=True)).runs == ()


async def test_overlap_and_the_managing_methods_work(tester: RedispatcherTester) -> None:
    dispatcher = tester.dispatcher
    with_slow = RedispatcherTester(dispatcher, clock=tester.clock)
    tester.__exit__()
    with with_slow:
        schedules = dispatcher.schedules
        for name in ("nightly", "hourly"):
            await schedules.pause(name, Report)

        await with_slow.run_for(3 * HOUR, schedules=True)

        (record,) = await schedules.list(Slow)
        assert (record.jobs_made, record.passed_over) == (1, 2)
        job = await schedules.run_now("nightly", Report)
        assert await job.result() == "nightly"
        with_slow.assert_published(Report, kind="nightly")
    tester.__enter__()
