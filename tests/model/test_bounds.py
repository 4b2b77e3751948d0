"""What a call takes at most, beside the model: the machine's queues are too short for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from redispatcher_fastapi.broker.scripts import BlockingClient
from redispatcher_fastapi.job import JobState
from tests.model.claiming import Want
from tests.model.jobs import Limits
from tests.model.pair import Pair
from tests.model.publishing import Message
from tests.model.running import open_store
from tests.model.settling import Settled

QUEUES = ("letters", "parcels")
LIMITS = Limits(queue_length=10_000, finished_count=10, dead_count=10)


@pytest.fixture
def pair(redis_dsn: str) -> Generator[Pair]:
    with open_store(redis_dsn) as client:
        yield begin(client, LIMITS)


def begin(client: BlockingClient, limits: Limits) -> Pair:
    pair = Pair(client, QUEUES, limits)
    pair.renew(QUEUES, "p0")
    return pair


def publish(pair: Pair, queue: str, count: int, *, size: int = 2, due: str = "") -> None:
    envelope = b"x" * size
    messages = [Message(f"{queue}-{number:04}", envelope, due) for number in range(count)]
    for at in range(0, count, 1000):
        pair.publish(queue, messages[at : at + 1000], None)


def test_a_claim_takes_500_jobs_of_all_its_queues_together(pair: Pair) -> None:
    for queue in QUEUES:
        publish(pair, queue, 300)

    first, second = pair.claim([Want(queue, "p0", 400, 1, 1) for queue in QUEUES])

    assert (len(first.taken), len(second.taken)) == (300, 200)


def test_a_claim_ends_with_the_batch_that_has_a_mebibyte(pair: Pair) -> None:
    publish(pair, "letters", 64, size=50_000)

    (claim,) = pair.claim([Want("letters", "p0", 64, 1, 1)])

    assert len(claim.taken) == 32


def test_500_jobs_at_once_are_let_on_when_they_are_due(pair: Pair) -> None:
    publish(pair, "letters", 600, due="d1000")
    pair.clock.now += 1_000

    (claim,) = pair.claim([Want("letters", "p0", 10, 1, 1)])

    assert (len(claim.taken), claim.wait) == (10, 0)
    assert pair.counts("letters")[:2] == [100, 490]


@pytest.mark.parametrize("action", ["cancel", "dead"])
def test_upkeep_forgets_a_hundred_of_an_order_at_once(pair: Pair, action: str) -> None:
    publish(pair, "letters", 120)
    if action == "cancel":
        for number in range(120):
            pair.cancel("letters", f"letters-{number:04}")
    else:
        (claim,) = pair.claim([Want("letters", "p0", 120, 1, 1)])
        ended = [
            Settled(one.id, one.delivery.token, "dead", reason="failed") for one in claim.taken
        ]
        pair.fail("letters", "p0", 1, ended)
    pair.clock.now += 400_000

    answers = [pair.upkeep(["letters"])[0].has_more for _ in range(2)]

    assert answers == [True, False]


def test_an_acknowledgement_of_many_forgets_no_more_than_it_may(pair: Pair) -> None:
    publish(pair, "letters", 100)
    (claim,) = pair.claim([Want("letters", "p0", 100, 1, 1)])
    ended = [Settled(one.id, one.delivery.token) for one in claim.taken]
    pair.acknowledge("letters", "p0", 1, ended[:99], 1_000_000)
    pair.clock.now += 50_000

    pair.acknowledge("letters", "p0", 2, ended[99:], 1_000_000)

    assert len(pair.list_ids("letters", JobState.SUCCEEDED, 0, 200)) == 90
