"""How the slots of a process are shared out among its queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from redispatcher_fastapi.errors import BrokerUnavailableError
from redispatcher_fastapi.pool.sharing import Sharer, Sharing, SharingWatch


@dataclass(eq=False)
class Queue:
    """A queue whose waiting jobs are a number."""

    name: str
    weight: int = 1
    waiting: int = 1_000_000
    running: int = 0
    slots: int = 1_000
    reserved: int = 0
    may_have_more: bool = True
    is_watched: bool = False
    is_away: bool = False

    @property
    def occupied(self) -> int:
        return self.running + self.reserved

    @property
    def demand(self) -> int:
        return min(self.slots - self.occupied, (self.slots + 1) // 2)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Process:
    """Claims for all of its queues with one call, and lets jobs end in the order they began."""

    def __init__(self, total: int, *queues: Queue) -> None:
        self.total = total
        self.queues = queues
        self.clock = Clock()
        self.sharing = Sharing(total, queues, clock=self.clock)
        self.started: Counter[str] = Counter()
        self.claims = 0
        self._running: list[Queue] = []

    def claim(self) -> int:
        """Claim once; return how many jobs that brought."""
        counts = self.sharing.allot(self.queues)
        assert sum(counts.values()) <= self.total - sum(queue.running for queue in self.queues)
        got: dict[Sharer, int] = {}
        for queue in self.queues:
            got[queue] = brought = min(counts[queue], queue.waiting)
            queue.waiting -= brought
            queue.running += brought
            self.sharing.taken += brought
            self.started[queue.name] += brought
            self._running += [queue] * brought
        self.sharing.charge(counts, got)
        self.claims += any(counts.values())
        return sum(got.values())

    def fill(self) -> None:
        """Claim until nothing more comes of it."""
        while any(
            count and queue.may_have_more
            for queue, count in self.sharing.allot(self.queues).items()
        ):
            self.claim()

    def end(self, count: int = 1) -> None:
        """Let the oldest jobs end."""
        for queue in self._running[:count]:
            queue.running -= 1
            self.sharing.taken -= 1
        del self._running[:count]

    def work(self, jobs: int, *, at_once: int = 1) -> None:
        """Start so many jobs more, with as many ending together, on a full process."""
        goal = self.started.total() + jobs
        while self.started.total() < goal:
            self.fill()
            self.end(at_once)

    def shares(self) -> Mapping[str, float]:
        return {name: count / self.started.total() for name, count in self.started.items()}


@pytest.mark.parametrize("total", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("weights", [(3, 1), (20, 1), (1, 1, 1), (5, 2, 1), (100, 1), (7, 3, 3, 1)])
def test_queues_with_enough_work_start_jobs_in_proportion_to_their_weights(
    total: int, weights: tuple[int, ...]
) -> None:
    queues = [
        Queue(str(weight) + "abcd"[n], weight, slots=total) for n, weight in enumerate(weights)
    ]
    process = Process(total, *queues)

    process.work(1_000)

    for queue in queues:
        share = queue.weight / sum(weights)
        assert process.shares()[queue.name] == pytest.approx(share, abs=0.03), queue.name


@pytest.mark.parametrize("total", [1, 4])
def test_nobody_waits_longer_than_a_round(total: int) -> None:
    small = Queue("small", 1)
    process = Process(total, Queue("big", 100), small)
    pauses: list[int] = []
    since = 0

    for _ in range(2_000):
        before = process.started["small"]
        process.work(1)
        since += 1
        if process.started["small"] > before:
            pauses.append(since)
            since = 0

    assert max([*pauses, since]) <= 101 + total


def test_slots_and_not_only_starts_are_shared_where_jobs_are_of_different_length() -> None:
    quick, slow = Queue("quick", 3), Queue("slow", 1)
    process = Process(10, quick, slow)
    process.fill()

    for _ in range(1_000):  # a slow job never ends
        quick.running -= 1
        process.sharing.taken -= 1
        process.fill()

    assert (quick.running, slow.running) == (7, 3)


def test_a_queue_without_work_leaves_everything_to_the_others_at_once() -> None:
    busy, empty = Queue("busy", 1), Queue("empty", 100, waiting=0)
    process = Process(10, busy, empty)

    process.fill()

    assert (busy.running, empty.running) == (10, 0)


def test_no_slot_stays_free_while_anybody_has_work_and_room() -> None:
    first, second, third = Queue("1", 9, slots=2), Queue("2", waiting=1), Queue("3", 5, slots=4)
    process = Process(10, first, second, third)

    process.fill()

    assert [queue.running for queue in process.queues] == [2, 1, 4]


@pytest.mark.parametrize("total", [1, 4])
def test_a_queue_that_has_work_again_gets_its_share_and_nothing_for_the_time_without(
    total: int,
) -> None:
    one, other = Queue("one"), Queue("other", waiting=0)
    process = Process(total, one, other)
    process.work(500)
    other.waiting, other.may_have_more = 1_000_000, True

    process.work(100)

    # Its share is the next to end, four at first, and half of what follows.
    assert process.started["other"] == pytest.approx(50, abs=4)


def test_a_queue_found_empty_is_asked_again_with_one_slot_after_a_pause() -> None:
    busy, empty = Queue("busy"), Queue("empty", waiting=0)
    process = Process(2, busy, empty)
    process.fill()
    process.end()

    at_once = process.sharing.allot(process.queues)
    process.clock.now += 0.01
    later = process.sharing.allot(process.queues)
    empty.is_watched = True
    watched = process.sharing.allot(process.queues)

    assert (at_once[busy], at_once[empty]) == (1, 0)
    assert (later[busy], later[empty]) == (0, 1)
    assert (watched[busy], watched[empty]) == (1, 0)


def test_looking_at_many_empty_queues_costs_no_more_than_looking_at_one() -> None:
    claims: list[int] = []
    for count in (1, 100):
        empty = [Queue(str(number), waiting=0) for number in range(count)]
        process = Process(1, Queue("busy"), *empty)
        process.work(2)  # all have been asked
        before = process.claims
        for _ in range(200):  # a fifth of a second in which a job ends every millisecond
            process.clock.now += 0.001
            process.end()
            process.fill()
        claims.append(process.claims - before - 200)

    assert max(claims) <= 25


def test_a_claim_takes_at_most_half_so_that_the_next_is_under_way_while_these_run() -> None:
    process = Process(10, Queue("a"), Queue("b"))

    assert process.claim() == 5
    assert process.claim() == 5
    assert process.claim() == 0


def test_without_a_limit_everybody_has_what_it_has_room_for() -> None:
    queues = [Queue("a", slots=3), Queue("b", slots=10, running=9)]
    sharing = Sharing(None, queues)

    assert sharing.allot(queues) == {queues[0]: 2, queues[1]: 1}
    assert not sharing.is_full


class TestClaimsThatAreMadeOneByOne:
    def test_slots_of_a_claim_under_way_are_not_given_away_twice(self) -> None:
        one, other = Queue("one"), Queue("other")
        sharing = Sharing(2, [one, other], clock=Clock())

        first = sharing.allot([one])
        reservation = sharing.reserve(first)
        second = sharing.allot([other])
        also = sharing.reserve(second)

        assert (first, second) == ({one: 1}, {other: 1})
        assert sharing.is_full
        assert sharing.allot([one]) == {one: 0}
        reservation.give_back()
        reservation.give_back()
        assert sharing.allot([one]) == {one: 1}
        also.give_back()
        assert (one.reserved, other.reserved) == (0, 0)

    def test_a_rivals_turn_is_left_to_it(self) -> None:
        one, other = Queue("one"), Queue("other")
        sharing = Sharing(1, [one, other], clock=Clock())
        sharing.charge({one: 1}, {one: 1})

        assert sharing.allot([one]) == {one: 0}
        assert sharing.allot([other]) == {other: 1}

    def test_a_claim_under_way_counts_as_a_turn(self) -> None:
        queues = [Queue("one"), Queue("two"), Queue("three")]
        sharing = Sharing(2, queues, clock=Clock())
        sharing.reserve(sharing.allot([queues[0]]))

        assert sharing.allot([queues[1]]) == {queues[1]: 1}

    def test_nobody_waits_for_a_rival_whose_redis_is_away(self) -> None:
        one, other = Queue("one"), Queue("other", is_away=True)
        sharing = Sharing(1, [one, other], clock=Clock())
        sharing.charge({one: 1}, {one: 1})

        assert sharing.allot([one]) == {one: 1}

    def test_a_call_without_an_answer_keeps_no_slots(self) -> None:
        class Watched:
            failures = 0

            def answered(self) -> None: ...

            def failed(self, error: Exception, after: float) -> None:
                self.failures += 1

        queue, told, given_back = Queue("one"), Watched(), list[int]()
        sharing = Sharing(2, [queue], clock=Clock())
        watch = SharingWatch(told, [queue], gave_back=lambda: given_back.append(queue.reserved))

        with watch.keeping(sharing.reserve({queue: 2})):
            assert queue.reserved == 2
            watch.failed(BrokerUnavailableError("away"), 1.0)
            assert queue.is_away
            watch.failed(BrokerUnavailableError("away"), 1.0)
            watch.answered()

        assert (queue.reserved, queue.is_away) == (0, False)
        assert (told.failures, given_back) == (2, [0, 0])
