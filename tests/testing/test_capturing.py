"""Whatever is published ends up in the tester's store, and nothing touches the real Redis."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from redispatcher_fastapi import ConfigurationError, JobState, NotRunningError, Redispatcher
from redispatcher_fastapi.testing import FakeClock, RedispatcherTester
from tests.testing.shop import Relay, Stranger, Welcome, make_app


def http_client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop")


def emails(tester: RedispatcherTester) -> list[str]:
    return [job.message.email for job in tester.published(Welcome)]


# Through which door it is published.


def test_endpoints_under_a_test_client_publish_into_the_tester(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    with TestClient(app) as client:
        job_id = client.post("/welcome", params={"email": "a"}).json()

        [job] = tester.published(Welcome)

    assert (job.id, job.queue, job.message) == (job_id, "welcome", Welcome.Message(email="a"))


def test_the_endpoints_of_the_tester_s_app_publish_without_their_lifespan(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    with RedispatcherTester(dispatcher, app) as tester:
        client = TestClient(app)  # each of its requests has an event loop of its own
        for email in "abc":
            client.post("/welcome", params={"email": email}).raise_for_status()

    assert emails(tester) == ["a", "b", "c"]


async def test_endpoints_under_an_asgi_transport_publish_without_their_lifespan(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    async with RedispatcherTester(dispatcher, app) as tester, http_client(app) as client:
        await client.post("/welcome", params={"email": "a"})

    assert emails(tester) == ["a"]


async def test_endpoints_under_an_asgi_transport_publish_within_their_lifespan(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    async with (
        RedispatcherTester(dispatcher, app) as tester,
        tester.lifespan(),
        http_client(app) as client,
    ):
        requests = [client.post("/welcome", params={"email": str(n)}) for n in range(50)]
        await asyncio.gather(*requests)

    assert sorted(emails(tester), key=int) == [str(n) for n in range(50)]


async def test_code_that_is_no_endpoint_publishes_without_a_lifespan(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Welcome).publish(Welcome.Message(email="a"))

    assert await job.state() is JobState.QUEUED
    assert tester.published(Welcome)[0].id == job.id


async def test_a_consumer_class_publishes_with_the_tester_s_redis_client_at_the_tester_s_time(
    dispatcher: Redispatcher,
) -> None:
    with RedispatcherTester(dispatcher, clock=FakeClock()) as tester:
        message = Welcome.Message(email="a")
        await Welcome.publish(message, tester.redis_client, delay=timedelta(minutes=1))

        [job] = tester.published(Welcome)

    assert job.published_at == datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert job.due_at == datetime(2030, 1, 1, 12, 1, tzinfo=UTC)


async def test_code_that_closes_the_tester_s_redis_client_loses_nothing(
    tester: RedispatcherTester,
) -> None:
    await Welcome.publish(Welcome.Message(email="a"), tester.redis_client)

    await tester.redis_client.aclose()

    assert [run.result for run in (await tester.run_until_idle()).runs] == ["a of none"]


async def test_any_consumer_may_be_published_to(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Stranger).publish_many([Stranger.Message(text=t) for t in "abc"])

    assert [job.message.text for job in tester.published(Stranger)] == ["a", "b", "c"]
    assert tester.published_counts == {"stranger": 3}


# What is kept of it.


async def test_headers_and_times_are_kept(
    dispatcher: Redispatcher,
) -> None:
    with RedispatcherTester(dispatcher, clock=FakeClock()) as tester:
        publisher = dispatcher.publisher(Welcome)
        start = tester.clock.now()
        await publisher.publish(Welcome.Message(email="now"), headers={"tenant": "t", "x": 1})
        tester.advance(timedelta(seconds=5))
        await publisher.publish(Welcome.Message(email="at"), at=start + timedelta(seconds=7))
        await publisher.publish(Welcome.Message(email="past"), at=start)

        now, at, past = tester.published(Welcome)

    assert now.headers == Welcome.Headers.model_validate({"tenant": "t", "x": 1})
    assert (now.published_at, now.due_at, now.delay) == (start, start, timedelta())
    assert (at.published_at, at.delay) == (start + timedelta(seconds=5), timedelta(seconds=2))
    assert past.delay == timedelta()


async def test_state_and_record_are_those_of_the_moment_they_are_read(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    job = await publisher.publish(Welcome.Message(email="a"), delay=timedelta(minutes=1))
    [published] = tester.published(Welcome)
    before = published.state

    await job.cancel()

    assert (before, published.state) == (JobState.SCHEDULED, JobState.CANCELLED)
    assert published.record is not None
    assert published.record.state is JobState.CANCELLED


async def test_a_finished_job_is_still_listed_with_its_message(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Welcome).publish(Welcome.Message(email="a"))
    await tester.run_until_idle()

    [job] = tester.published(Welcome)

    assert (job.message.email, job.state) == ("a", JobState.SUCCEEDED)


async def test_an_id_that_is_published_again_is_one_job(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    first = await publisher.publish(Welcome.Message(email="a"), id="one")
    second = await publisher.publish(Welcome.Message(email="b"), id="one")

    assert (first.created, second.created) == (True, False)
    assert emails(tester) == ["a"]


def test_the_inspector_of_the_application_looks_into_the_tester(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    with TestClient(app) as client:
        job_id = client.post("/welcome", params={"email": "a"}).json()

        assert client.get("/state", params={"job_id": job_id}).json() == "queued"
        tester.run_until_idle_blocking()
        assert client.get("/state", params={"job_id": job_id}).json() == "succeeded"


def test_every_tester_begins_empty(dispatcher: Redispatcher, app: FastAPI) -> None:
    for _ in range(2):
        with RedispatcherTester(dispatcher) as tester, TestClient(app) as client:
            assert tester.published_counts == {}
            client.post("/welcome", params={"email": "a"})


def test_a_shared_tester_can_be_cleared_while_the_application_runs(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    with TestClient(app) as client:
        for _ in range(2):
            job_id = client.post("/welcome", params={"email": "a"}).json()
            assert emails(tester) == ["a"]
            assert len(tester.run_until_idle_blocking().runs) == len(tester.runs) == 1

            tester.clear()

            assert (emails(tester), tester.runs) == ([], [])
            assert client.get("/state", params={"job_id": job_id}).json() is None


# What must not happen.


def test_no_pool_runs_and_the_configured_redis_is_left_alone(
    tester: RedispatcherTester,
    dispatcher: Redispatcher,
    app: FastAPI,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A pool or a look at the server would complain that redis.invalid cannot be reached.
    assert dispatcher.run_pool
    with caplog.at_level(logging.INFO), TestClient(app) as client:
        client.post("/welcome", params={"email": "a"})

    assert [record for record in caplog.records if record.name.startswith("redispatcher")] == []
    assert tester.published(Welcome)[0].state is JobState.QUEUED


def test_the_dispatcher_is_its_old_self_afterwards(
    dispatcher: Redispatcher, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with RedispatcherTester(dispatcher, app):
        assert app.state.redispatcher is dispatcher
    assert not hasattr(app.state, "redispatcher")

    with pytest.raises(NotRunningError):
        dispatcher.publisher(Welcome)
    with pytest.raises(NotRunningError, match=r"with TestClient\(app\) as client"):
        TestClient(app).post("/welcome", params={"email": "a"})


def test_the_app_stays_usable_without_lifespan_after_one_has_ended(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    with RedispatcherTester(dispatcher, app) as tester:
        with TestClient(app) as client:
            client.post("/welcome", params={"email": "a"})
        TestClient(app).post("/welcome", params={"email": "b"})

    assert emails(tester) == ["a", "b"]


# Mistakes.


def test_an_app_without_its_lifespan_is_told_what_to_do(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    with pytest.raises(NotRunningError, match=r"RedispatcherTester\(dispatcher, app\)"):
        TestClient(app).post("/welcome", params={"email": "a"})


def test_a_tester_refuses_to_come_after_the_lifespan(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    with (
        TestClient(app),
        pytest.raises(ConfigurationError, match="enter RedispatcherTester first"),
        RedispatcherTester(dispatcher),
    ):
        pass


def test_two_testers_at_once_are_refused_and_the_first_one_works_on(
    tester: RedispatcherTester, dispatcher: Redispatcher, app: FastAPI
) -> None:
    with (
        pytest.raises(ConfigurationError, match="one RedispatcherTester at a time"),
        RedispatcherTester(dispatcher),
    ):
        pass

    with TestClient(app) as client:
        client.post("/welcome", params={"email": "a"})
    assert emails(tester) == ["a"]


async def test_a_tester_that_is_entered_again_begins_empty(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    tester = RedispatcherTester(dispatcher, app)

    for _ in range(2):
        async with tester:
            await dispatcher.publisher(Welcome).publish(Welcome.Message(email="a"))

            assert len((await tester.run_until_idle()).runs) == 1
            assert len(tester.published(Welcome)) == 1
            assert len(tester.runs) == 1
        with pytest.raises(NotRunningError):
            dispatcher.publisher(Welcome)


def test_a_tester_that_is_entered_twice_at_once_is_refused_and_works_on(
    dispatcher: Redispatcher,
) -> None:
    with RedispatcherTester(dispatcher) as tester:
        with pytest.raises(ConfigurationError, match="one RedispatcherTester at a time"):
            tester.__enter__()

        assert tester.run_blocking(Welcome, Welcome.Message(email="a")) == "a of none"

    with pytest.raises(NotRunningError):
        dispatcher.publisher(Welcome)


async def test_a_tester_that_is_not_entered_is_told_what_to_do(dispatcher: Redispatcher) -> None:
    tester = RedispatcherTester(dispatcher)

    with pytest.raises(NotRunningError, match="fixture `redispatcher_tester`"):
        await tester.run_until_idle()
    with pytest.raises(NotRunningError, match="fixture `redispatcher_tester`"):
        await tester.run(Relay, Relay.Message(times=1))


async def test_running_the_lifespan_of_an_app_without_the_router_is_refused(
    dispatcher: Redispatcher,
) -> None:
    async with RedispatcherTester(dispatcher, make_app(None)) as tester:
        with pytest.raises(NotRunningError, match="include its router"):
            async with tester.lifespan():
                pass


async def test_running_a_lifespan_without_an_app_is_refused(tester: RedispatcherTester) -> None:
    with pytest.raises(NotRunningError, match=r"RedispatcherTester\(dispatcher, app\)"):
        async with tester.lifespan():
            pass
