"""What is due runs by claim, execution and settling, one job after another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import anyio
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from redispatcher_fastapi import (
    BaseConsumer,
    JobFailedError,
    JobState,
    Publisher,
    Redispatcher,
    Reject,
)
from redispatcher_fastapi.consumer import ResultDecodingError
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.testing import EndlessRunError, FailedRunsError, RedispatcherTester
from tests.testing.shop import Flaky, Price, Relay, Stranger, Sum, Welcome, get_prices
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)


class Ping(BaseConsumer):
    """Publishes itself for ever."""

    QUEUE = "ping"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, pings: Publisher[Ping] = Depends()) -> None:
        await pings.publish(Ping.Message())


class OtherWelcome(BaseConsumer):
    """What an older release published to the queue of ``Welcome``."""

    QUEUE = "welcome"

    class Message(BaseConsumer.Message):
        address: str

    async def process_message(self, message: Message) -> None: ...


async def get_tester() -> RedispatcherTester:
    raise NotImplementedError


async def get_gate() -> anyio.Event:
    raise NotImplementedError


class Reset(BaseConsumer):
    """Clears the store while it runs, and publishes something new."""

    QUEUE = "reset"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self,
        message: Message,
        tester: Annotated[RedispatcherTester, Depends(get_tester)],
        welcomes: Annotated[Publisher[Welcome], Depends()],
    ) -> None:
        tester.clear()
        await welcomes.publish(Welcome.Message(email="new"))


class Jump(BaseConsumer):
    """Moves the clock while it runs, and has another job run."""

    QUEUE = "jump"

    class Message(BaseConsumer.Message):
        days: int

    async def process_message(
        self,
        message: Message,
        tester: Annotated[RedispatcherTester, Depends(get_tester)],
        welcomes: Annotated[Publisher[Welcome], Depends()],
    ) -> None:
        tester.advance(timedelta(days=message.days))
        await (await welcomes.publish(Welcome.Message(email="a"))).result()


class Gated(BaseConsumer):
    """Runs until the test lets it go on."""

    QUEUE = "gated"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self, message: Message, gate: Annotated[anyio.Event, Depends(get_gate)]
    ) -> str:
        await gate.wait()
        return "through"


class Stuck(BaseConsumer):
    QUEUE = "stuck"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await anyio.sleep_forever()


@pytest.fixture
def tester(dispatcher: Redispatcher, app: FastAPI) -> Iterator[RedispatcherTester]:
    app.state.prices = {"apple": 3, "pear": 4}
    with RedispatcherTester(dispatcher, app) as tester:
        yield tester


async def flaky(dispatcher: Redispatcher, raises: str, *, until_attempt: int = 100) -> str:
    message = Flaky.Message(raises=raises, until_attempt=until_attempt)
    return (await dispatcher.publisher(Flaky).publish(message)).id


async def welcome(dispatcher: Redispatcher, email: str, *, delay: timedelta | None = None) -> str:
    publisher = dispatcher.publisher(Welcome)
    return (await publisher.publish(Welcome.Message(email=email), delay=delay)).id


# What runs, and in which order.


async def test_nothing_runs_when_nothing_is_due(tester: RedispatcherTester) -> None:
    report = await tester.run_until_idle()

    assert (report.runs, report.next_due_at, str(report)) == ((), None, "Nothing was due.")


async def test_a_job_runs_and_its_result_is_kept(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Welcome).publish(Welcome.Message(email="a"))

    [run] = (await tester.run_until_idle()).runs

    assert (run.consumer, run.job_id, run.queue) == (Welcome, job.id, "welcome")
    assert (run.attempt, run.outcome, run.error) == (1, "succeeded", None)
    assert run.result == await job.result() == "a of none"
    assert (await tester.run_until_idle()).runs == ()


async def test_jobs_of_all_queues_run_in_the_order_of_their_publication(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    expected: list[str] = []
    for number in range(4):
        expected.append(await welcome(dispatcher, str(number)))
        expected.append(await flaky(dispatcher, "", until_attempt=1))
        price = await dispatcher.publisher(Price).publish(
            Price.Message(article="apple"), id=f"{9 - number}"
        )
        expected.append(price.id)

    report = await tester.run_until_idle()

    assert [run.job_id for run in report.runs] == expected


async def test_jobs_that_were_delayed_run_in_the_order_in_which_they_fell_due(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    late = await welcome(dispatcher, "late", delay=3 * MINUTE)
    early = await flaky(dispatcher, "", until_attempt=1)
    middle = await welcome(dispatcher, "middle", delay=2 * MINUTE)
    tester.advance(10 * MINUTE)

    report = await tester.run_until_idle()

    assert [run.job_id for run in report.runs] == [early, middle, late]


async def test_what_jobs_publish_runs_too(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Relay).publish(Relay.Message(times=3))

    report = await tester.run_until_idle()

    assert [run.consumer for run in report.runs] == [Relay, Welcome, Relay, Welcome, Relay, Welcome]
    assert [run.result for run in report.of(Welcome)] == ["3 of none", "2 of none", "1 of none"]


async def test_a_delayed_job_waits_until_the_clock_has_moved_far_enough(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job_id = await welcome(dispatcher, "a", delay=MINUTE)
    due_at = tester.clock.now() + MINUTE

    first = await tester.run_until_idle()
    tester.advance(MINUTE - timedelta(milliseconds=1))
    second = await tester.run_until_idle()
    tester.advance(timedelta(milliseconds=1))
    third = await tester.run_until_idle()

    assert (first.runs, first.next_due_at) == ((), due_at)
    assert (second.runs, second.next_due_at) == ((), due_at)
    assert ([run.job_id for run in third.runs], third.next_due_at) == ([job_id], None)


async def test_cancelled_jobs_do_not_run(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    jobs = await publisher.publish_many([Welcome.Message(email=each) for each in "abc"])
    await jobs[0].cancel()

    report = await tester.run_until_idle()

    assert [run.job_id for run in report.runs] == [jobs[1].id, jobs[2].id]


async def test_jobs_without_a_consumer_stay_and_are_reported(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Stranger).publish_many([Stranger.Message()] * 2)

    report = await tester.run_until_idle()

    assert (report.runs, report.unclaimed) == ((), {"stranger": 2})
    assert "No consumer of the tester takes queue stranger" in str(report)


async def test_the_consumers_to_run_can_be_chosen(dispatcher: Redispatcher) -> None:
    async with RedispatcherTester(dispatcher, consumers=[Stranger]) as tester:
        await welcome(dispatcher, "a")
        await dispatcher.publisher(Stranger).publish(Stranger.Message())

        report = await tester.run_until_idle()

    assert [run.consumer for run in report.runs] == [Stranger]
    assert report.unclaimed == {"welcome": 1}


async def test_overrides_hold_for_every_run(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Sum).publish(Sum.Message(articles=["apple", "plum"]))

    report = await tester.run_until_idle(overrides={get_prices: lambda: {"apple": 100, "plum": 1}})

    assert [run.result for run in report.of(Sum)] == [101]


def test_without_async_it_runs_next_to_a_test_client(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    with RedispatcherTester(dispatcher) as tester, TestClient(app) as client:
        client.post("/welcome", params={"email": "a", "delay": 60})

        assert tester.run_until_idle_blocking().runs == ()
        assert [run.result for run in tester.run_for_blocking(MINUTE).runs] == ["a of none"]


# Failures.


async def test_a_failed_attempt_fails_the_test_with_its_exception_as_the_cause(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await welcome(dispatcher, "a")
    job_id = await flaky(dispatcher, "a fault")

    with pytest.raises(FailedRunsError) as raised:
        await tester.run_until_idle()

    assert isinstance(raised.value, AssertionError)
    assert "1 of 2 run(s) failed" in str(raised.value)
    assert f"Flaky {job_id} attempt 1: retried, due " in str(raised.value)
    assert "ValueError: a fault" in str(raised.value)
    assert str(raised.value.__cause__) == "a fault"
    assert [run.outcome for run in raised.value.report.runs] == ["succeeded", "retried"]


async def test_several_failures_are_all_causes(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await flaky(dispatcher, "one")
    await flaky(dispatcher, "reject")

    with pytest.raises(FailedRunsError) as raised:
        await tester.run_until_idle()

    group = raised.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(error) for error in group.exceptions] == [ValueError, Reject]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]  # of any type


async def test_expected_failures_are_only_reported(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await flaky(dispatcher, "a fault")
    await flaky(dispatcher, "reject")

    report = await tester.run_until_idle(expected=(ValueError, Reject))

    assert [(run.outcome, run.reason) for run in report.runs] == [
        ("retried", None),
        ("dead", "rejected"),
    ]
    assert [type(run.error) for run in report.failures()] == [ValueError, Reject]


async def test_an_expected_failure_does_not_excuse_another(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await flaky(dispatcher, "a fault")
    await flaky(dispatcher, "reject")

    with pytest.raises(FailedRunsError, match="1 of 2"):
        await tester.run_until_idle(expected=ValueError)


async def test_a_handler_that_ends_the_process_fails_its_job_only(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await flaky(dispatcher, "exit")
    job_id = await welcome(dispatcher, "a")

    report = await tester.run_until_idle(expected=SystemExit)

    assert [run.outcome for run in report.runs] == ["retried", "succeeded"]
    assert report.runs[1].job_id == job_id


async def test_a_message_that_does_not_fit_the_consumer_is_a_failure(
    tester: RedispatcherTester,
) -> None:
    await OtherWelcome.publish(OtherWelcome.Message(address="a"), tester.redis_client)

    report = await tester.run_until_idle(expected=EnvelopeError)

    assert (report.runs[0].outcome, report.runs[0].reason) == ("dead", "invalid_message")
    assert "email: Field required" in str(report.runs[0].error)
    with pytest.raises(EnvelopeError):
        tester.published(Welcome)


async def test_retry_and_snooze_are_no_failures(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    start = tester.clock.now()
    await flaky(dispatcher, "retry")
    await flaky(dispatcher, "snooze")

    report = await tester.run_until_idle()

    assert [(run.outcome, run.due_at) for run in report.runs] == [
        ("retried", start + 2 * MINUTE),
        ("snoozed", start + 5 * MINUTE),
    ]
    assert report.next_due_at == start + 2 * MINUTE


async def test_a_retry_on_the_last_attempt_is_a_failure(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job_id = await flaky(dispatcher, "retry")

    with pytest.raises(FailedRunsError, match=f"{job_id} attempt 3: dead"):
        await tester.run_for(timedelta(hours=1))


# Time.


async def test_a_retry_runs_when_its_longest_delay_is_over(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job_id = await flaky(dispatcher, "a fault", until_attempt=2)

    await tester.run_until_idle(expected=ValueError)
    tester.advance(timedelta(seconds=0.999))
    early = await tester.run_until_idle()
    tester.advance(timedelta(seconds=0.001))
    [run] = (await tester.run_until_idle()).runs

    assert early.runs == ()
    assert (run.job_id, run.attempt, run.outcome, run.result) == (job_id, 2, "succeeded", 2)


async def test_time_that_passes_runs_each_job_at_the_moment_it_falls_due(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    start = tester.clock.now()
    await welcome(dispatcher, "a", delay=10 * MINUTE)
    await welcome(dispatcher, "late", delay=61 * MINUTE)
    job_id = await flaky(dispatcher, "a fault")

    report = await tester.run_for(timedelta(hours=1), expected=ValueError)

    assert tester.clock.now() == start + timedelta(hours=1)
    assert [(run.consumer, run.attempt) for run in report.runs] == [
        (Flaky, 1),
        (Flaky, 2),
        (Flaky, 3),
        (Welcome, 1),
    ]
    record = await dispatcher.inspector.job("flaky", job_id)
    assert record is not None
    assert record.state is JobState.DEAD
    assert [attempt.finished_at - start for attempt in record.history] == [
        timedelta(0),
        timedelta(seconds=1),
        timedelta(seconds=3),
    ]
    assert report.next_due_at == start + 61 * MINUTE


async def test_a_retry_takes_its_turn_among_other_jobs_by_its_new_time(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await flaky(dispatcher, "a fault", until_attempt=2)
    await welcome(dispatcher, "a", delay=timedelta(seconds=0.5))
    await tester.run_until_idle(expected=ValueError)
    tester.advance(MINUTE)

    report = await tester.run_until_idle()

    assert [run.consumer for run in report.runs] == [Welcome, Flaky]


async def test_a_clock_that_jumps_takes_no_job_away_and_forgets_none(
    dispatcher: Redispatcher,
) -> None:
    async with RedispatcherTester(dispatcher, consumers=[Jump, Welcome]) as tester:
        job = await dispatcher.publisher(Jump).publish(Jump.Message(days=2))

        report = await tester.run_until_idle(overrides={get_tester: lambda: tester})
        tester.advance(timedelta(days=2))
        await tester.run_until_idle()

        assert [(run.consumer, run.outcome) for run in report.runs] == [
            (Welcome, "succeeded"),
            (Jump, "succeeded"),
        ]
        assert await job.state() is JobState.SUCCEEDED


async def test_nothing_is_left_leased(tester: RedispatcherTester, dispatcher: Redispatcher) -> None:
    await welcome(dispatcher, "a")
    await flaky(dispatcher, "retry")
    await tester.run_until_idle()

    assert await tester.redis_client.execute_command("KEYS", "*:leases") == []
    assert await tester.redis_client.execute_command("KEYS", "*:held:*") == []


# Endless and stuck ones.


async def test_endless_work_ends_with_an_error_that_names_it(dispatcher: Redispatcher) -> None:
    async with RedispatcherTester(dispatcher, consumers=[Ping, Welcome]) as tester:
        await welcome(dispatcher, "a")
        await dispatcher.publisher(Ping).publish(Ping.Message())

        with pytest.raises(EndlessRunError, match=r"Most of them were Ping \(20\), Welcome \(1\)"):
            await tester.run_until_idle(limit=20)


async def test_as_many_runs_as_the_limit_are_no_error(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Relay).publish(Relay.Message(times=2))

    assert len((await tester.run_until_idle(limit=4)).runs) == 4


async def test_a_run_that_is_cancelled_leaves_its_job_to_the_next(
    dispatcher: Redispatcher,
) -> None:
    async with RedispatcherTester(dispatcher, consumers=[Stuck]) as tester:
        await dispatcher.publisher(Stuck).publish(Stuck.Message())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await tester.run_until_idle()

        [job] = tester.published(Stuck)

        assert job.state is JobState.QUEUED
        assert job.record is not None
        assert job.record.losses == 0


async def test_a_store_that_is_cleared_meanwhile_loses_its_jobs_and_takes_new_ones(
    dispatcher: Redispatcher,
) -> None:
    async with RedispatcherTester(dispatcher, consumers=[Reset, Welcome]) as tester:
        await welcome(dispatcher, "old", delay=MINUTE)
        await dispatcher.publisher(Reset).publish(Reset.Message())

        report = await tester.run_until_idle(overrides={get_tester: lambda: tester})

    assert [(run.consumer, run.outcome, run.result) for run in report.runs] == [
        (Reset, "refused", None),
        (Welcome, "succeeded", "new of none"),
    ]
    assert report.next_due_at is None


# Waiting for results.


def test_an_endpoint_that_waits_for_a_result_has_the_job_run(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    with TestClient(app) as client:
        assert client.get("/price", params={"article": "pear"}).json() == 4

    assert [run.consumer for run in tester.runs] == [Price]


async def test_a_job_that_waits_for_others_has_them_run(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Sum).publish(Sum.Message(articles=["apple", "pear"]))

    report = await tester.run_until_idle()

    assert await job.result() == 7
    assert [run.consumer for run in report.runs] == [Price, Price, Sum]


async def test_waiting_for_a_job_that_fails_raises(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Flaky).publish(Flaky.Message(raises="reject"))

    with pytest.raises(JobFailedError, match="not wanted"):
        await job.result()


async def test_waiting_for_what_is_not_due_ends_at_once(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    job = await publisher.publish(Welcome.Message(email="a"), delay=MINUTE)

    with pytest.raises(TimeoutError, match="is scheduled, and nothing else is due"):
        await job.result()
    tester.advance(MINUTE)
    assert await job.result() == "a of none"


async def test_waiting_for_a_job_that_runs_elsewhere_lasts_until_it_ends(
    dispatcher: Redispatcher,
) -> None:
    gate = anyio.Event()
    async with RedispatcherTester(dispatcher, consumers=[Gated]) as tester:
        job = await dispatcher.publisher(Gated).publish(Gated.Message())
        running = asyncio.ensure_future(tester.run_until_idle(overrides={get_gate: lambda: gate}))
        await wait_until(lambda: tester.published(Gated)[0].state is JobState.RUNNING)
        asyncio.get_running_loop().call_soon(gate.set)

        assert await job.result() == "through"
        await running


class Mistyped(BaseConsumer):
    QUEUE = "mistyped"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> int:
        return "three"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the mistake


async def test_a_result_of_the_wrong_type_is_a_failed_run_and_the_next_jobs_go_on(
    dispatcher: Redispatcher,
) -> None:
    with RedispatcherTester(dispatcher, consumers=[Mistyped, Welcome]) as tester:
        await dispatcher.publisher(Mistyped).publish(Mistyped.Message())
        await dispatcher.publisher(Welcome).publish(Welcome.Message(email="a"))

        with pytest.raises(FailedRunsError, match="succeeded: ResultDecodingError") as caught:
            await tester.run_until_idle()

    mistyped, welcome = caught.value.report.runs
    assert mistyped.outcome == "succeeded"
    assert isinstance(mistyped.error, ResultDecodingError)
    assert welcome.result == "a of none"
