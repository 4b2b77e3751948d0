"""Courses of several calls that chance alone would hardly ever put in a row."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model.claiming import Want
from tests.model.publishing import Message
from tests.model.single_calls import SingleCalls
from tests.model.strategies import (
    IDS,
    Ended,
    Held,
    ago,
    booleans,
    endings,
    given_back,
    messages,
    operators_actions,
    pick,
    queues,
)


class Scenarios(SingleCalls):
    """One scenario per rule, begun in whatever state the calls before have left."""

    @rule(queue=queues, count=st.integers(1, 3), ending=endings)
    def work(self, queue: str, count: int, ending: Ended) -> None:
        """Let the newest process claim, and end all it got a second later."""
        self.pair.renew([queue], self.actors.newest)
        claimed = self.actors.claim([self.actors.want(queue, count, suspects=2)])
        self.pair.clock.now += 1_000
        self.actors.settle(claimed, ending, 0, count)

    @rule(queue=queues, message=messages, ending=endings)
    def publish_and_work(self, queue: str, message: Message, ending: Ended) -> None:
        self.actors.do(partial(self.pair.publish, queue, [message._replace(due="")], None))
        self.work(queue, 2, ending)

    @rule(queue=queues, ending=endings)
    def watch_and_work(self, queue: str, ending: Ended) -> None:
        """End a job that somebody waits for."""
        self.actors.do(partial(self.pair.publish, queue, [Message("awaited", b"{}")], None))
        self.actors.do(partial(self.pair.watch, queue, "awaited"))
        self.work(queue, 3, ending)

    @rule(queue=queues, needs_all=booleans)
    def publish_more_than_fit(self, queue: str, needs_all: bool) -> None:
        self.actors.publish_ids(queue, IDS, needed=len(IDS) if needs_all else None)

    @rule(queue=queues, count=st.sampled_from([1, 4]), message=messages, action=operators_actions)
    def use_ids_again(self, queue: str, count: int, message: Message, action: str) -> None:
        """Let jobs with chosen ids succeed, forget them, and publish one of them again."""
        for job_id in IDS[:count]:
            chosen = Message(job_id, b"{}", "", True)
            self.actors.do(partial(self.pair.publish, queue, [chosen], None))
            self.work(queue, 3, Ended("done", 0, b"[]"))
        for duration in (self.pair.limits.finished_age, self.pair.limits.id_memory):
            self.pair.clock.now += duration + 1
            self.actors.do(partial(self.pair.publish, queue, [message._replace(due="")], None))
            self.actors.do(partial(getattr(self.pair, action), queue, message.id))
            self.actors.do(partial(self.pair.upkeep, [queue]))

    @rule(queue=queues, count=st.integers(1, 2))
    def claim_twice(self, queue: str, count: int) -> None:
        """Claim twice, and make the first claim again."""
        self.actors.ensure_held(queue)
        self.actors.publish_ids(queue, "f")
        self.pair.renew([queue], self.actors.newest)
        for _ in range(2):
            self.actors.claim([self.actors.want(queue, count, suspects=1)])
        self.actors.claims[-2]()

    @rule(queue=queues, ago=ago, ending=endings, duration=st.sampled_from([0, 1, 1000]))
    def settle_an_older_delivery(self, queue: str, ago: int, ending: Ended, duration: int) -> None:
        """Give jobs back, claim them again, and end the deliveries there were before."""
        held = self.actors.ensure_held(queue)
        if not held:
            return
        self.actors.settle(held, Ended("release", 0, None), ago, 3)
        holder = pick(held, ago).holder
        self.pair.clock.now += duration
        first = self.actors.next_sequence(holder, 3)
        self.actors.claim([Want(queue, holder, 3, 3, first)])
        self.actors.settle(held, ending, ago, 3)

    @rule(queue=queues, ago=ago, ending=endings | given_back, count=st.integers(1, 3))
    def settle_twice(self, queue: str, ago: int, ending: Ended, count: int) -> None:
        """End deliveries, and make the call again, as after an answer that was lost."""
        self.actors.settle(self.actors.ensure_held(queue), ending, ago, count)
        self.actors.calls[-1]()

    @rule(queue=queues, ago=ago)
    def depart_with_jobs(self, queue: str, ago: int) -> None:
        """Let a process take its leave although it has something in hand."""
        if held := self.actors.ensure_held(queue):
            self.actors.do(partial(self.pair.depart, (queue,), pick(held, ago).holder))

    @rule(queue=queues, action=operators_actions | st.just("delete"))
    def use_forgotten_id(self, queue: str, action: str) -> None:
        """Publish an id again that nobody has to remember any more, and has not been tidied up."""
        again = partial(self.pair.publish, queue, [Message("old", b"{}", "", True)], None)
        self.actors.do(again)
        self.work(queue, 3, Ended("done", 0, None))
        self.pair.clock.now += self.pair.limits.finished_age + 1
        self.actors.do(partial(self.pair.upkeep, [queue]))
        self.pair.clock.now += self.pair.limits.id_memory + 1
        self.actors.do(again)
        self.actors.do(partial(getattr(self.pair, action), queue, "old"))

    @rule(queue=queues, ago=ago)
    def come_back(self, queue: str, ago: int) -> None:
        """Let a process that was given up go on as if nothing had happened."""
        if held := self.actors.ensure_held(queue):
            holder = pick(held, ago).holder
            self.lose(queue, [*self.pair.queues[queue].held][::-1].index(holder), others=False)
            self.pair.renew([queue], holder)

    @rule(queue=queues)
    def redrive_while_all_wait(self, queue: str) -> None:
        """Let a job die, and run again when no pool has anything to do."""
        self.actors.do(partial(self.pair.publish, queue, [Message("mortal", b"{}")], None))
        self.work(queue, 3, Ended("dead", 0, None))
        self.pair.take_token(queue)
        self.actors.do(partial(self.pair.redrive, queue, "mortal"))

    @rule(queue=queues, ago=st.integers(0, 2), others=booleans)
    def lose(self, queue: str, ago: int, others: bool) -> None:
        """Let one lease end while somebody looks often enough, and take back what it held."""
        model, clock = self.pair.queues[queue], self.pair.clock
        lost = pick(list(model.held) or self.actors.holders, ago)
        for _ in range(2):
            clock.now += self.pair.limits.lease // 2
            if others:
                for holder in self.actors.holders[-3:]:
                    if holder != lost:
                        self.pair.renew([queue], holder)
            self.pair.upkeep([queue])
        # One process is taken back per call, whoever ended first.
        while model.leases.get(lost, clock.now + 1) <= clock.now:
            self.pair.upkeep([queue])

    @rule(
        queue=queues,
        count=st.integers(1, 2),
        times=st.sampled_from([1, 1, 3]),
        suspects=st.integers(0, 1),
        is_empty=booleans,
        ending=endings,
        then=st.sampled_from(["settle", "settle", "lose", "cancel"]),
    )
    def kill_processes(
        self,
        queue: str,
        count: int,
        times: int,
        suspects: int,
        is_empty: bool,
        ending: Ended,
        then: str,
    ) -> None:
        """Let whatever runs next end processes; after three of them it must run alone."""
        self.actors.publish_ids(queue, IDS[:2])
        for _ in range(times):
            self._claim_and_lose(queue, count, suspects=2)
        self.actors.join((queue,))
        claimed = self.actors.claim([self.actors.want(queue, 3, suspects=suspects)])
        self.actors.settle(claimed, ending, 0, 3)
        if then == "cancel":
            self._cancel_next_solo(queue)
        alone = self._claim_alone(queue, is_empty=is_empty)
        for _ in range(2 if then == "lose" and alone else 0):
            self.lose(queue, 0, others=False)
            self.actors.join((queue,))
            alone = self._claim_alone(queue)
        self.actors.settle(alone, ending, 0, 1)
        self.actors.claims[-1]()
        self.actors.do(partial(self.pair.depart, (queue,), self.actors.newest))
        self.actors.join((queue,))

    @rule(queue=queues, is_cancelled=booleans)
    def isolate(self, queue: str, is_cancelled: bool) -> None:
        """Let all there is end three processes, then one job two more while it is alone."""
        self.actors.publish_ids(queue, IDS)
        for _ in range(3):
            self._claim_and_lose(queue, 6, suspects=6)
        if is_cancelled:
            self._cancel_next_solo(queue)
        for _ in range(2):  # both of them busy
            self.actors.join((queue,))
            self._claim_alone(queue, is_empty=False)
        for _ in range(4):
            self.actors.join((queue,))
            self._claim_alone(queue)
            self.lose(queue, 0, others=False)

    def _claim_and_lose(self, queue: str, count: int, *, suspects: int) -> None:
        self.actors.join((queue,))
        self.actors.claim([self.actors.want(queue, count, suspects=suspects)])
        self.lose(queue, 0, others=False)

    def _claim_alone(self, queue: str, *, is_empty: bool = True) -> list[Held]:
        holder = self.actors.newest
        sequence = self.actors.next_sequence(holder, 1)
        return self.actors.claim_solo(queue, holder, sequence, is_empty=is_empty)

    def _cancel_next_solo(self, queue: str) -> None:
        if lane := self.pair.queues[queue].lanes["solo"]:
            self.actors.do(partial(self.pair.cancel, queue, lane[0]))
