"""What a test sees of priorities, expiry and messages that are unique, and what the clock does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi import (
    Disposition,
    Job,
    JobCancelledError,
    JobState,
    OnConflict,
    Priority,
    Redispatcher,
    Unique,
    UniqueScope,
)
from redispatcher_fastapi.testing import RedispatcherTester
from redispatcher_fastapi.testing.expectation import InvalidExpectationError
from tests.testing.shop import Flaky, Welcome

MINUTE = timedelta(minutes=1)
PER_EMAIL = Unique(fields=("email",))
CALM = Unique(("email",), scope=UniqueScope.WAITING, on_conflict=OnConflict.DEBOUNCE)


def welcome(email: str = "a", name: str = "") -> Welcome.Message:
    return Welcome.Message(email=email, name=name)


async def test_a_published_job_shows_what_it_asked_for(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    await publisher.publish(welcome(), priority=Priority.HIGH, expires=MINUTE, unique=PER_EMAIL)
    await publisher.publish(welcome("b"), delay=MINUTE)

    first, second = tester.published(Welcome)

    assert (first.priority, first.expires, first.is_unique) == (Priority.HIGH, MINUTE, True)
    assert first.expires_at == first.published_at + MINUTE
    assert (second.priority, second.expires, second.is_unique) == (Priority.NORMAL, None, False)
    assert (first.delay, second.delay) == (timedelta(), MINUTE)


async def test_priority_and_expiry_can_be_asserted(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Welcome).publish(welcome(), priority=Priority.LOW, expires=MINUTE)

    tester.assert_published(Welcome, email="a", priority=Priority.LOW, expires=MINUTE)
    tester.assert_not_published(Welcome, priority=Priority.HIGH)
    tester.assert_not_published(Welcome, expires=2 * MINUTE)
    with pytest.raises(AssertionError, match="priority: expected high, was low"):
        tester.assert_published(Welcome, priority=Priority.HIGH)
    with pytest.raises(AssertionError, match="expires: expected 0:02:00, was 0:01:00"):
        tester.assert_published(Welcome, expires=2 * MINUTE)
    with pytest.raises(InvalidExpectationError, match="no field 'unique'"):
        tester.assert_published(Welcome, unique=True)


async def test_a_duplicate_is_no_publication(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    await publisher.publish(welcome(name="first"), unique=PER_EMAIL)
    second = await publisher.publish(welcome(name="second"), unique=PER_EMAIL)

    assert second.disposition is Disposition.EXISTING
    assert tester.assert_published(Welcome, count=1, name="first").id == second.id


async def test_a_replaced_message_is_listed_as_it_will_run(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    await publisher.publish(welcome("other"))
    jobs: list[Job[str]] = []
    for number in range(3):
        message = welcome(name=f"n{number}")
        jobs.append(await publisher.publish(message, delay=MINUTE, expires=2 * MINUTE, unique=CALM))
        tester.advance(MINUTE / 2)

    job = tester.assert_published(Welcome, count=1, email="a", delay=MINUTE, expires=2 * MINUTE)
    report = await tester.run_until_idle()
    later = await tester.run_for(MINUTE)

    assert (job.message.name, job.id) == ("n2", jobs[0].id)
    assert jobs[2].disposition is Disposition.DEBOUNCED
    assert len(report.of(Welcome)) == 1
    (run,) = later.of(Welcome)
    assert run.job_id == jobs[0].id


async def test_the_clock_of_the_tester_lets_jobs_expire(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Welcome).publish(welcome(), expires=MINUTE)
    tester.advance(MINUTE)

    report = await tester.run_until_idle()

    assert report.runs == ()
    assert await job.state() is JobState.CANCELLED
    with pytest.raises(JobCancelledError, match="has expired"):
        await job.result()


async def test_the_clock_of_the_tester_ends_a_lock(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    hourly = Unique(("email",), scope=timedelta(hours=1))
    first = await publisher.publish(welcome(), unique=hourly)
    await tester.run_until_idle()
    tester.advance(59 * MINUTE)
    second = await publisher.publish(welcome(), unique=hourly)
    tester.advance(MINUTE)
    third = await publisher.publish(welcome(), unique=hourly)

    assert [job.created for job in (first, second, third)] == [True, False, True]


async def test_the_tester_runs_what_is_high_first(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Flaky)
    jobs = [
        await publisher.publish(Flaky.Message(raises="", until_attempt=1), priority=priority)
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
    ]

    report = await tester.run_until_idle()

    assert [run.job_id for run in report.runs] == [job.id for job in reversed(jobs)]
