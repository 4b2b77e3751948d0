"""What ``assert_published`` accepts, and what it says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import pytest
from fastapi.testclient import TestClient
from pydantic import RootModel, ValidationError

from redispatcher_fastapi import BaseConsumer, Redispatcher
from redispatcher_fastapi.testing import InvalidExpectationError, RedispatcherTester
from tests.testing.shop import Address, Price, Stranger, Welcome, make_app


class Timed(BaseConsumer):
    """Has fields that are called like options."""

    QUEUE = "timed"

    class Message(BaseConsumer.Message):
        delay: int
        count: int

    async def process_message(self, message: Message) -> None: ...


@pytest.fixture
async def published(tester: RedispatcherTester, dispatcher: Redispatcher) -> RedispatcherTester:
    """Two welcomes and a price."""
    welcomes = dispatcher.publisher(Welcome)
    full = {
        "email": "a@shop",
        "name": "Ann",
        "site": "https://ann.example/",
        "address": {"city": "Bern", "street": "Aarstrasse"},
    }
    await welcomes.publish(Welcome.Message.model_validate(full), headers={"tenant": "north"})
    await welcomes.publish(Welcome.Message(email="b@shop"), delay=timedelta(minutes=5))
    await dispatcher.publisher(Price).publish(Price.Message(article="apple"))
    return tester


def failure(tester: RedispatcherTester, **expectations: object) -> str:
    with pytest.raises(AssertionError) as raised:
        tester.assert_published(Welcome, **expectations)  # type: ignore[arg-type]  # of any kind
    return str(raised.value)


# Accepted.


async def test_a_job_with_the_expected_fields_is_returned(published: RedispatcherTester) -> None:
    job = published.assert_published(Welcome, email="b@shop", name="")

    assert job is not None
    assert job.message == Welcome.Message(email="b@shop")


async def test_without_expectations_any_job_of_the_consumer_will_do(
    published: RedispatcherTester,
) -> None:
    assert published.assert_published(Welcome).message.email == "a@shop"


async def test_a_function_sees_the_message(published: RedispatcherTester) -> None:
    job = published.assert_published(Welcome, lambda message: message.email.startswith("b"))

    assert job.message.email == "b@shop"


async def test_fields_and_function_must_hold_for_the_same_job(
    published: RedispatcherTester,
) -> None:
    published.assert_not_published(Welcome, lambda message: message.name == "Ann", email="b@shop")


async def test_a_value_may_be_given_as_json_has_it(published: RedispatcherTester) -> None:
    published.assert_published(Welcome, site="https://ann.example/")
    published.assert_published(Welcome, address={"city": "Bern", "street": "Aarstrasse"})
    published.assert_published(Welcome, address=Address(city="Bern", street="Aarstrasse"))


async def test_objects_that_decide_by_themselves_what_they_equal_are_asked(
    published: RedispatcherTester,
) -> None:
    published.assert_published(Welcome, email="a@shop", site=ANY, address=ANY)


async def test_a_delay_is_compared_to_within_a_second(published: RedispatcherTester) -> None:
    published.assert_published(Welcome, delay=timedelta(minutes=5))
    published.assert_published(Welcome, email="b@shop", delay=timedelta(minutes=5, seconds=-1))
    published.assert_published(Welcome, email="a@shop", delay=timedelta(0))
    published.assert_not_published(Welcome, delay=timedelta(minutes=5, seconds=2))


def test_a_time_to_start_is_compared_as_a_delay(dispatcher: Redispatcher) -> None:
    with RedispatcherTester(dispatcher) as tester, TestClient(make_app(dispatcher)) as client:
        client.post("/remind", params={"email": "a"})

        job = tester.assert_published(Welcome, delay=timedelta(hours=1))

        # The application's clock went on after the tester's began.
        tester.clock.advance_to(job.due_at)
        assert tester.run_until_idle_blocking().runs[0].job_id == job.id
    assert job.due_at <= datetime.now(UTC) + timedelta(hours=1)


async def test_only_the_headers_that_are_given_are_compared(published: RedispatcherTester) -> None:
    job = published.assert_published(Welcome, headers={"tenant": "north"})

    assert job.message.email == "a@shop"
    published.assert_not_published(Welcome, headers={"tenant": "south"})
    published.assert_not_published(Welcome, headers={"trace": "1"})


async def test_a_count_is_exact(published: RedispatcherTester) -> None:
    published.assert_published(Welcome, count=2)
    published.assert_published(Welcome, email="a@shop", count=1)

    assert failure(published, count=3).startswith("2 jobs of Welcome were published, not 3.")


async def test_nothing_published_means_no_queue_or_not_this_one(
    published: RedispatcherTester,
) -> None:
    published.assert_nothing_published("stranger")

    with pytest.raises(AssertionError, match=r"^Jobs were published: price \(1\)\.$"):
        published.assert_nothing_published("price")
    with pytest.raises(AssertionError, match=r"welcome \(2\), price \(1\)"):
        published.assert_nothing_published()
    published.clear()
    published.assert_nothing_published()


# What a failure says.


async def test_a_failure_tells_the_differences_field_by_field_and_the_nearest_job_first(
    published: RedispatcherTester,
) -> None:
    a, b = published.published(Welcome)

    assert failure(published, email="b@shop", name="Bob", delay=timedelta(0)).splitlines() == [
        "No job of Welcome with email='b@shop', name='Bob', delay=0:00:00 was published.",
        "Published to welcome were 2, the nearest first:",
        f"  {a.id} (queued)",
        "    email: expected 'b@shop', was 'a@shop'",
        "    name: expected 'Bob', was 'Ann'",
        f"  {b.id} (scheduled)",
        "    name: expected 'Bob', was ''",
        "    delay: expected 0:00:00, was 0:05:00",
        "Other queues: price (1).",
    ]
    assert failure(published, email="b@shop", name="Bob").splitlines()[2:4] == [
        f"  {b.id} (scheduled)",
        "    name: expected 'Bob', was ''",
    ]


async def test_a_failure_looks_into_nested_fields(published: RedispatcherTester) -> None:
    text = failure(published, address={"city": "Basel", "zip": 4000})

    assert "    address.city: expected 'Basel', was 'Bern'\n" in text
    assert "    address.zip: expected 4000, was missing\n" in text
    assert "    address.street: not expected, was 'Aarstrasse'\n" in text


async def test_a_failure_tells_headers_and_functions(published: RedispatcherTester) -> None:
    def is_known(message: Welcome.Message) -> bool:
        return False

    with pytest.raises(AssertionError) as raised:
        published.assert_published(Welcome, is_known, headers={"tenant": "south"})

    assert "is_known(message)" in str(raised.value).splitlines()[0]
    assert "headers['tenant']: expected 'south', was 'north'" in str(raised.value)
    assert "the function returned false for Message(email='a@shop'" in str(raised.value)


async def test_a_failure_says_when_nothing_was_published_there(
    published: RedispatcherTester,
) -> None:
    with pytest.raises(AssertionError) as raised:
        published.assert_published(Stranger, text="a")

    assert str(raised.value).splitlines() == [
        "No job of Stranger with text='a' was published.",
        "Nothing was published to stranger.",
        "Other queues: welcome (2), price (1).",
    ]


async def test_a_failure_of_the_contrary_lists_what_was_found(
    published: RedispatcherTester,
) -> None:
    with pytest.raises(AssertionError) as raised:
        published.assert_not_published(Welcome, email="b@shop")

    first, job = str(raised.value).splitlines()
    assert first == "1 job(s) of Welcome with email='b@shop' were published:"
    assert "email='b@shop'" in job
    assert "delay=0:05:00" in job


async def test_a_failure_stays_short(
    published: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    publisher = dispatcher.publisher(Welcome)
    await publisher.publish_many([Welcome.Message(email="x" * 10_000) for _ in range(50)])

    text = failure(published, email="y")

    assert len(text) < 4000
    assert "and 47 more" in text


# Mistakes.


async def test_a_field_that_does_not_exist_is_refused_by_both(
    published: RedispatcherTester,
) -> None:
    fields = "email, name, site, address"
    with pytest.raises(InvalidExpectationError, match=f"no field 'emial'; it has: {fields}"):
        published.assert_published(Welcome, emial="a@shop")
    with pytest.raises(InvalidExpectationError, match="no field 'emial'"):
        published.assert_not_published(Welcome, emial="a@shop")


async def test_an_option_that_is_a_field_as_well_is_refused(
    tester: RedispatcherTester, dispatcher: Redispatcher
) -> None:
    await dispatcher.publisher(Timed).publish(Timed.Message(delay=1, count=2))

    with pytest.raises(InvalidExpectationError, match=r"lambda message: message\.delay == "):
        tester.assert_published(Timed, delay=timedelta(0))
    with pytest.raises(InvalidExpectationError, match="'count' is an option"):
        tester.assert_published(Timed, count=1)
    tester.assert_published(Timed, lambda message: message.count == 2)


async def test_a_count_of_none_at_all_is_refused(published: RedispatcherTester) -> None:
    with pytest.raises(InvalidExpectationError, match="assert_not_published"):
        published.assert_published(Welcome, count=0)


def test_a_mistake_of_the_test_is_not_taken_for_a_failed_expectation() -> None:
    assert not issubclass(InvalidExpectationError, (AssertionError, ValidationError))


class Tags(BaseConsumer):
    QUEUE = "tags"

    class Message(BaseConsumer.Message, RootModel[list[str]]):
        pass

    async def process_message(self, message: Message) -> None: ...


async def test_a_message_that_is_one_value_is_compared_as_its_root(
    dispatcher: Redispatcher, tester: RedispatcherTester
) -> None:
    await dispatcher.publisher(Tags).publish(Tags.Message(["new"]))

    tester.assert_published(Tags, root=["new"])
    with pytest.raises(AssertionError, match=r"root: expected \['old'\], was \['new'\]"):
        tester.assert_published(Tags, root=["old"])
