"""Courses of calls about locks, partitions, limits and cancellation, which chance hardly makes."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model.lines import LEVELS
from tests.model.publishing import Message
from tests.model.scenarios import Scenarios
from tests.model.strategies import (
    Ended,
    ago,
    booleans,
    dues,
    endings,
    expiries,
    levels,
    overrides,
    pick,
    queues,
    rules,
    uniques,
)

_ROUNDS = 60


class SpecialScenarios(Scenarios):
    """One scenario per rule, begun in whatever state the calls before have left."""

    @rule(
        queue=queues,
        unique=st.tuples(uniques, uniques),
        due=st.tuples(dues, dues),
        expiry=expiries,
        level=levels,
        then=st.sampled_from(["", "", "work", "settle", "cancel", "delete", "wait", "move"]),
        ending=endings,
    )
    def meet(
        self,
        queue: str,
        unique: tuple[str, str],
        due: tuple[str, str],
        expiry: str,
        level: str,
        then: str,
        ending: Ended,
    ) -> None:
        """Publish what is to be there once, let something happen to it, and publish it again."""
        self.actors.published += 3
        begin = self.actors.published
        lock = f"M{begin}"
        for number, job_id in enumerate(f"m{begin + number}" for number in range(3)):
            which = min(number, 1)
            envelope = b'{"v":1,"body":%d}' % number
            due_at = due[which].replace("a", "d")
            message = Message(
                job_id, envelope, due_at, False, level, "", expiry, unique[which], lock
            )
            self.actors.do(partial(self.pair.publish, queue, [message], None))
            if number == 0 and then:
                self._befall(queue, job_id, then, ending)

    def _befall(self, queue: str, job_id: str, what: str, ending: Ended) -> None:
        match what:
            case "work":
                self.pair.renew([queue], self.actors.newest)
                self.actors.claim([self.actors.want(queue, 2, suspects=2)])
            case "settle":
                self.work(queue, 2, ending)
            case "wait":
                self.pair.clock.now += 60_001
            case "move":
                for level in ("low", "high"):
                    self.actors.do(partial(self.pair.set_priority, queue, job_id, level))
            case _:
                self.actors.do(partial(getattr(self.pair, what), queue, job_id))

    @rule(
        queue=queues,
        partition=st.sampled_from(["K", "L"]),
        count=st.integers(1, 3),
        ending=endings,
        then=st.sampled_from(["settle", "settle", "lose", "cancel", "cancel and lose"]),
        limits=rules,
        duration=st.sampled_from([5_000, 59_999, 60_000, 100_000]),
    )
    def work_in_partition(
        self,
        queue: str,
        partition: str,
        count: int,
        ending: Ended,
        then: str,
        limits: str,
        duration: int,
    ) -> None:
        """Let jobs of a partition run, and others take their places when something ends them."""
        self.actors.limits[queue] = limits
        self.actors.join((queue,))
        self.actors.publish_new(queue, 4, partition=partition)
        claimed = self.actors.claim([self.actors.want(queue, count, suspects=1)])
        if "cancel" in then:
            for one in claimed:
                self.actors.do(partial(self.pair.cancel, queue, one.taken.id))
        if "lose" in then:
            self.lose(queue, 0, others=False)
            self.actors.join((queue,))
        elif then == "cancel":
            self.actors.claim([self.actors.want(queue, 0, suspects=1)])
        self.actors.settle(claimed, ending, 0, count)
        self.actors.claim([self.actors.want(queue, count, suspects=count - 1)])
        self.pair.clock.now += duration
        self.actors.claim([self.actors.want(queue, count, suspects=count - 1)])

    @rule(queue=queues, partition=st.sampled_from(["", "K"]), is_started=booleans)
    def outlive_an_expiry(self, queue: str, partition: str, is_started: bool) -> None:
        """Let a job expire, or start in time and then run for longer."""
        self._begin_without_limits(queue)
        message = Message("brief", b"{}", expiry="d20000", partition=partition)
        self.actors.do(partial(self.pair.publish, queue, [message], None))
        for count in (2 * is_started, 2):
            self.actors.claim([self.actors.want(queue, count, suspects=1)])
            self.pair.clock.now += 20_001
            self.pair.renew([queue], self.actors.newest)
            self.actors.do(partial(self.pair.upkeep, [queue]))

    @rule(queue=queues, duration=st.sampled_from([19_999, 20_000]))
    def outlive_a_pause(self, queue: str, duration: int) -> None:
        self._begin_without_limits(queue)
        self.actors.publish_new(queue, 1)
        self.actors.do(partial(self.pair.pause, queue, "d20000", "for a while"))
        self.pair.clock.now += duration
        self.actors.claim([self.actors.want(queue, 1, suspects=1)])

    def _begin_without_limits(self, queue: str) -> None:
        self.actors.limits[queue] = ""
        self.actors.do(partial(self.pair.set_limits, queue, "-"))
        self.actors.join((queue,))

    @rule(
        queue=queues,
        limits=rules,
        partition=st.sampled_from(["", "K"]),
        override=overrides,
        ends=st.sampled_from([None, None, "", "d20000", "d20000"]),
        duration=st.sampled_from([1, 20_000, 60_000]),
    )
    def keep_waiting(
        self,
        queue: str,
        limits: str,
        partition: str,
        override: str,
        ends: str | None,
        duration: int,
    ) -> None:
        """Let limits, or a pause, keep jobs back, and see what starts when they are over."""
        self.actors.limits[queue] = limits
        self.actors.join((queue,))
        self.actors.publish_new(queue, 5, partition=partition)
        claimed = self.actors.claim([self.actors.want(queue, 5, suspects=1)])
        if ends is not None:
            self.actors.do(partial(self.pair.pause, queue, ends, "later"))
        for ending in ("done", "retry"):
            self.actors.settle(claimed[-1:], Ended(ending, 500, None), 0, 1)
            claimed = claimed[:-1]
            self.actors.claim([self.actors.want(queue, 5, suspects=1)])
        self._claim_alone(queue)
        self.actors.do(partial(self.pair.set_limits, queue, override))
        self.actors.claim([self.actors.want(queue, 2, suspects=1)])
        self.pair.clock.now += duration
        self.actors.claim([self.actors.want(queue, 5, suspects=1)])
        self.actors.do(partial(self.pair.set_limits, queue, "-"))

    @rule(queue=queues, partition=st.sampled_from(["", "K"]), level=st.sampled_from(LEVELS))
    def move_and_use_again(self, queue: str, partition: str, level: str) -> None:
        """Move jobs, cancel and forget them, and publish others of the same ids."""
        for job_id in "ab":
            message = Message(job_id, b"{}", partition=partition, level="low")
            self.actors.do(partial(self.pair.publish, queue, [message], None))
            for each in ("high", level):
                self.actors.do(partial(self.pair.set_priority, queue, job_id, each))
        for action in ("cancel", "delete"):
            self.actors.do(partial(getattr(self.pair, action), queue, "a"))
        self.actors.publish_ids(queue, "ba", partition=partition)
        self.pair.renew([queue], self.actors.newest)
        self.actors.claim([self.actors.want(queue, 3, suspects=0)])

    @rule(queue=queues, count=st.integers(2, 4), partition=st.sampled_from(["", "K"]))
    def kill_all_but_cancelled(self, queue: str, count: int, partition: str) -> None:
        """Let jobs of a partition end processes, and somebody cancel those that wait."""
        self.actors.limits[queue] = ""
        self.actors.publish_new(queue, 4, partition=partition)
        for _ in range(count):
            self._claim_and_lose(queue, 2, suspects=1)
        self.actors.join((queue,))
        self.actors.claim([self.actors.want(queue, 3, suspects=0)])
        waiting = [one.id for one in self.pair.queues[queue].jobs.values() if one.losses]
        for job_id in waiting[:2]:
            self.actors.do(partial(self.pair.cancel, queue, job_id))
        self._claim_alone(queue)
        self.actors.claim([self.actors.want(queue, 3, suspects=0)])

    @rule(queue=queues, ago=ago, ending=endings, is_lost=booleans)
    def cancel_what_runs(self, queue: str, ago: int, ending: Ended, is_lost: bool) -> None:
        held = self.actors.ensure_held(queue)
        if not held:
            return
        one = pick(held, ago)
        self.actors.do(partial(self.pair.cancel, queue, one.taken.id))
        if is_lost:
            self.lose(queue, ago, others=False)
        self.actors.settle(held, ending, ago, 2)

    def drain(self, queue: str) -> None:
        """Let one process do all there is, without limits: nothing may be left for ever.

        Raises:
            AssertionError: a job never ended, or something stays after all retention.
        """
        model, limits = self.pair.queues[queue], self.pair.limits
        self.pair.is_twice = False
        self.pair.pause(queue, "-", "")
        self.pair.set_limits(queue, "c3")
        self.pair.expire(queue, "turn")
        self.actors.join((queue,))
        for number in range(_ROUNDS):
            self.pair.clock.now += limits.lease // 2 - 1
            self.pair.renew([queue], self.actors.newest)
            self.pair.upkeep([queue])
            claimed = self.actors.claim([self.actors.want(queue, 5, suspects=number % 2 * 3)])
            claimed += self._claim_alone(queue)
            self.actors.settle(claimed, Ended("done", 0, None), 0, 5)
            if not any(job.ending is None for job in model.jobs.values()):
                break
        left = [job for job in model.jobs.values() if job.ending is None]
        assert not left, f"never done: {left}"
        self._forget_all(queue)

    def _forget_all(self, queue: str) -> None:
        model, limits = self.pair.queues[queue], self.pair.limits
        self.pair.set_limits(queue, "-")
        self.pair.onward(queue, list(model.onward.items()))
        for duration in (limits.finished_age, limits.dead_age, limits.id_memory):
            self.pair.clock.now += duration + 1
            for _ in range(3):
                self.pair.upkeep([queue])
        self.actors.claim([self.actors.want(queue, 5, suspects=5)])
        self._claim_alone(queue)
        self.pair.upkeep([queue])
        for holder in list(model.leases):
            self.pair.depart([queue], holder)
        kept = self.pair.kept(queue)
        assert set(kept) <= {"stats", "wake"}, f"left for ever: {kept}"
