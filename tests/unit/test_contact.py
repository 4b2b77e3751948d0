"""What a pool makes of the answers it gets, and of those it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.errors import BrokerAccessError, BrokerError, BrokerUnavailableError
from redispatcher_fastapi.hooks import Outage
from redispatcher_fastapi.pool.contact import Call, Contact
from tests.pool.recording import RecordingHooks

AWAY = BrokerUnavailableError("ConnectionError: Connection refused.")
QUEUES = ("letters", "parcels")


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hooks() -> RecordingHooks:
    return RecordingHooks()


@pytest.fixture
def contact(clock: Clock, hooks: RecordingHooks) -> Contact:
    contact = Contact(QUEUES, hooks, clock=clock)
    contact.answered("claim")
    return contact


def test_nothing_can_be_claimed_before_the_first_answer(
    clock: Clock, hooks: RecordingHooks
) -> None:
    contact = Contact(QUEUES, hooks, clock=clock)

    assert contact.problem == "nothing was claimed yet"
    assert contact.since_last_claim is None
    assert contact.last_claim_at is None


def test_the_age_of_the_last_claim_grows_and_is_no_problem(contact: Contact, clock: Clock) -> None:
    clock.now += 3600

    assert contact.since_last_claim == timedelta(hours=1)
    assert contact.problem is None


@pytest.mark.parametrize("call", ["connect", "claim", "renew", "upkeep"])
def test_an_outage_is_told_at_once_then_now_and_then_and_when_it_is_over(
    contact: Contact, clock: Clock, hooks: RecordingHooks, call: Call
) -> None:
    for _ in range(70):
        contact.failed(call, AWAY)
        clock.now += 1
    contact.answered(call)

    assert [outage.lasted.total_seconds() for outage in hooks.failures] == [0, 30, 60]
    assert {outage.queues for outage in hooks.failures} == {QUEUES}
    assert all("Connection refused" in outage.reason for outage in hooks.failures)
    assert hooks.resumptions == [Outage(QUEUES, hooks.failures[0].reason, timedelta(seconds=70))]


def test_an_outage_began_with_the_call_that_failed(
    contact: Contact, clock: Clock, hooks: RecordingHooks
) -> None:
    contact.watch("claim").failed(AWAY, after=5)
    contact.note_failure("renew", AWAY, after=2)
    clock.now += 1

    assert [outage.lasted for outage in hooks.failures] == [timedelta(seconds=5)]
    assert contact.unanswered_for == timedelta(seconds=6)


def test_it_lasts_until_every_kind_of_call_is_answered(
    contact: Contact, clock: Clock, hooks: RecordingHooks
) -> None:
    contact.failed("claim", AWAY)
    clock.now += 1
    contact.note_failure("renew", AWAY)
    contact.answered("claim")

    still = contact.problem
    clock.now += 1
    assert contact.unanswered_for == timedelta(seconds=1)
    assert contact.note_answer("renew", timedelta(milliseconds=3))
    contact.report()

    assert still is not None
    assert still.startswith("Redis did not answer a renewal")
    assert contact.problem is None
    assert contact.unanswered_for is None
    assert contact.latency == timedelta(milliseconds=3)
    assert len(hooks.failures) == len(hooks.resumptions) == 1


def test_an_answer_to_another_kind_of_call_does_not_hide_a_failure(
    contact: Contact, clock: Clock
) -> None:
    contact.failed("claim", BrokerAccessError("NoPermissionError: no"))

    assert not contact.note_answer("renew", timedelta())
    contact.answered("upkeep")

    assert contact.problem == "Redis refused a claim: NoPermissionError: no"


def test_a_refused_claim_is_not_made_good_by_one_that_wanted_nothing(
    contact: Contact, hooks: RecordingHooks
) -> None:
    contact.failed("claim", BrokerAccessError("NoPermissionError: no"))

    contact.answered("claim", is_proof=False)
    still = contact.problem
    contact.answered("claim")

    assert still is not None
    assert contact.problem is None
    assert len(hooks.resumptions) == 1


def test_any_answer_shows_that_redis_is_back(contact: Contact, hooks: RecordingHooks) -> None:
    contact.failed("claim", AWAY)

    contact.answered("claim", is_proof=False)

    assert contact.problem is None
    assert len(hooks.resumptions) == 1


def test_a_pool_that_stops_does_not_say_that_it_can_claim_again(
    contact: Contact, hooks: RecordingHooks
) -> None:
    contact.failed("renew", AWAY)
    contact.note_stop()
    contact.answered("renew")

    assert contact.problem is None
    assert len(hooks.failures) == 1
    assert hooks.resumptions == []


def test_an_upkeep_that_is_refused_does_not_keep_a_pool_from_claiming(
    contact: Contact, hooks: RecordingHooks
) -> None:
    contact.failed("upkeep", BrokerAccessError("NoPermissionError: no"))

    assert contact.problem is None
    assert hooks.failures == []


def test_free_slots_without_a_claim_for_half_a_minute_are_a_problem(
    contact: Contact, clock: Clock
) -> None:
    contact.expect_claims(is_expected=True)
    clock.now += 30
    before = contact.problem
    clock.now += 1

    assert before is None
    assert contact.problem == "there are free slots, and no claim for 31 s"


def test_a_pool_without_free_slots_need_not_claim(contact: Contact, clock: Clock) -> None:
    contact.expect_claims(is_expected=False)
    clock.now += 3600
    contact.expect_claims(is_expected=True)
    clock.now += 10

    assert contact.problem is None


def test_a_reason_is_one_line(contact: Contact) -> None:
    contact.failed("claim", BrokerError("ResponseError: a\nb\r\n\tc"))

    assert contact.problem == "Redis refused a claim: ResponseError: a b c"
