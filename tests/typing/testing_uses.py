"""What type checkers must accept of the testing kit, and which types they must see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from redispatcher_fastapi import JobRecord, JobState, Priority, Redispatcher
from redispatcher_fastapi.testing import (
    FakeClock,
    JobRun,
    PublishedJob,
    RedispatcherTester,
    RunReport,
)
from tests.typing.consumers import (
    Created,
    Enrich,
    Index,
    Inherited,
    Nightly,
    Report,
    Resize,
    SendEmail,
    Store,
)


def looking(tester: RedispatcherTester) -> None:
    assert_type(tester.published(SendEmail), list[PublishedJob[SendEmail.Message]])
    assert_type(tester.published(SendEmail)[0].message.address, str)
    assert_type(tester.published(Report)[0].message.year, int)
    assert_type(tester.published(Nightly), list[PublishedJob[Inherited.Message]])
    assert_type(tester.published(Resize)[0].state, JobState | None)
    assert_type(tester.published(Resize)[0].record, JobRecord | None)
    assert_type(tester.published(Resize)[0].delay, timedelta)
    assert_type(tester.published(Resize)[0].priority, Priority)
    assert_type(tester.published(Resize)[0].expires, timedelta | None)


def expecting(tester: RedispatcherTester) -> None:
    assert_type(
        tester.assert_published(Resize, path="p", delay=timedelta(minutes=1), count=1),
        PublishedJob[Resize.Message],
    )
    tester.assert_published(Resize, lambda message: message.path.endswith("p"))
    tester.assert_not_published(Report, lambda message: message.year > 2000, headers={"a": 1})
    tester.assert_published(Resize, headers={"tenant": "t"})
    tester.assert_published(Resize, priority=Priority.HIGH, expires=timedelta(hours=1))


async def running(dispatcher: Redispatcher, clock: FakeClock) -> None:
    async with RedispatcherTester(dispatcher, clock=clock, consumers=[SendEmail]) as tester:
        assert_type(await tester.run(Resize, Resize.Message(path="p")), int)
        assert_type(await tester.run(Report, Report.Message(year=1), attempt=2), list[str])
        assert_type(await tester.run(Index, Index.Message(event=Created())), bool)
        assert_type(await tester.run_until_idle(expected=(ValueError, OSError)), RunReport)
        assert_type(await tester.run_for(timedelta(hours=1), expected=ValueError), RunReport)
        assert_type((await tester.run_until_idle()).of(Resize), list[JobRun])
        assert_type(tester.advance(timedelta(hours=1)), datetime)
        await Resize.publish(Resize.Message(path="p"), tester.redis_client)


async def batches(tester: RedispatcherTester) -> None:
    assert_type(tester.published(Enrich), list[PublishedJob[Enrich.Message]])
    assert_type(tester.assert_published(Store, row=1), PublishedJob[Store.Message])
    tester.assert_published(Enrich, lambda message: message.path.endswith("p"))
    assert_type(await tester.run_batch(Enrich, [Enrich.Message(path="p")]), list[JobRun])
    assert_type(tester.run_batch_blocking(Store, [Store.Message(row=1)], attempt=2), list[JobRun])


def blocking(dispatcher: Redispatcher) -> None:
    with RedispatcherTester(dispatcher, clock=FakeClock(datetime.now(UTC))) as tester:
        assert_type(tester.run_blocking(Resize, Resize.Message(path="p")), int)
        assert_type(tester.run_blocking(Report, Report.Message(year=1)), list[str])
        assert_type(tester.run_until_idle_blocking(limit=10), RunReport)
        assert_type(tester.run_for_blocking(timedelta(hours=1)), RunReport)
