"""Drives the engine and its model with whatever processes, publishers and operators may do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from redispatcher_fastapi.broker.scripts import BlockingClient
from redispatcher_fastapi.job import JobState
from tests.model.jobs import Limits
from tests.model.operations import Message
from tests.model.pair import Pair, Want
from tests.model.strategies import (
    EXPIRING,
    IDS,
    QUEUES,
    Ended,
    Held,
    ago,
    booleans,
    both,
    end,
    endings,
    job_ids,
    limits,
    messages,
    operators_actions,
    plain_messages,
    queues,
    rarely,
    steps,
)
from tests.model.working import Taken

_T = TypeVar("_T")


class EngineMachine(RuleBasedStateMachine):
    """Subclasses name the ``client``, see :func:`machine_for`."""

    client: ClassVar[BlockingClient]
    #: How many examples there were.
    begun: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._holders = ["p0"]
        self._sequences = {"p0": 1}
        self._requests = {"p0": 1}
        self._deliveries: list[Held] = []
        self._past: list[Callable[[], object]] = []
        self._claims: list[Callable[[], object]] = []

    @initialize(limits=limits)
    def begin(self, limits: Limits) -> None:
        type(self).begun += 1
        self.pair = Pair(self.client, QUEUES, limits)
        self._do(partial(self.pair.renew, QUEUES, "p0"))

    @rule(queue=queues, messages=st.lists(messages, min_size=1, max_size=4), needs_all=booleans)
    def publish(self, queue: str, messages: list[Message], needs_all: bool) -> None:
        needed = len(messages) if needs_all else None
        now = self.pair.clock.now
        timed = [
            one._replace(due=f"a{now + int(one.due[1:])}") if one.due.startswith("a") else one
            for one in messages
        ]
        self._do(partial(self.pair.publish, queue, timed, needed))

    @rule(queue=queues, messages=st.lists(plain_messages, min_size=1, max_size=4))
    def publish_plainly(self, queue: str, messages: list[Message]) -> None:
        self._do(partial(self.pair.publish, queue, messages, None))

    @rule(
        queues=both,
        ago=ago,
        action=st.sampled_from(["join", "renew", "renew", "depart", "upkeep", "upkeep"]),
    )
    def maintain(self, queues: tuple[str, ...], ago: int, action: str) -> None:
        match action:
            case "join":
                self._join(queues)
            case "upkeep":
                self._do(partial(self.pair.upkeep, queues))
            case _:
                holder = _pick(self._holders, ago)
                self._do(partial(getattr(self.pair, action), queues, holder))

    @rule(
        queues=both,
        ago=st.integers(0, 2),
        count=st.integers(0, 4),
        suspects=st.integers(0, 2),
        back=st.sampled_from([0, 0, 0, 0, 1, 2]),
    )
    def claim(
        self, queues: tuple[str, ...], ago: int, count: int, suspects: int, back: int
    ) -> None:
        holder = _pick(self._holders, ago)
        first = self._next_sequence(holder, count, back)
        wants = [Want(queue, holder, count, suspects, first) for queue in queues]
        self._claim(wants)

    @rule(queue=queues, ago=st.integers(0, 2), is_empty=booleans, back=st.sampled_from([0, 0, 1]))
    def claim_solo(self, queue: str, ago: int, is_empty: bool, back: int) -> None:
        holder = _pick(self._holders, ago)
        sequence = self._next_sequence(holder, 1, back)
        self._claim_solo(queue, holder, sequence, is_empty=is_empty)

    @rule(queue=queues, ending=endings, ago=ago, count=st.integers(1, 3))
    def settle(self, queue: str, ending: Ended, ago: int, count: int) -> None:
        """End deliveries that somebody still has."""
        self._settle(self._held(queue), ending, ago, count)

    @rule(
        queue=queues,
        is_held=booleans,
        ending=endings,
        ago=ago,
        count=st.integers(1, 3),
        is_stranger=rarely,
        twist=st.sampled_from(["", "star", "sequence", "time"]),
        is_repeated=rarely,
    )
    def settle_wrongly(
        self,
        queue: str,
        is_held: bool,
        ending: Ended,
        ago: int,
        count: int,
        is_stranger: bool,
        twist: str,
        is_repeated: bool,
    ) -> None:
        """End any delivery there ever was, or one with a wrong token, or in another one's name."""
        self._settle(
            self._held(queue) if is_held else self._deliveries,
            ending,
            ago,
            count,
            is_stranger=is_stranger,
            twist=twist,
            is_repeated=is_repeated,
        )

    @rule(queue=queues, ago=ago, ending=endings, duration=st.sampled_from([0, 1, 1000]))
    def settle_an_older_delivery(self, queue: str, ago: int, ending: Ended, duration: int) -> None:
        """Give jobs back, claim them again, and end the deliveries there were before."""
        held = self._held(queue)
        if not held:
            return
        self._settle(held, Ended("release", 0, None), ago, 3)
        holder = _pick(held, ago).holder
        self.pair.clock.now += duration
        self._claim([Want(queue, holder, 3, 3, self._next_sequence(holder, 3))])
        self._settle(held, ending, ago, 3)

    @rule(queue=queues, count=st.integers(1, 3), ending=endings)
    def work(self, queue: str, count: int, ending: Ended) -> None:
        """Let the newest process claim, and end all it got a second later."""
        holder = self._holders[-1]
        self.pair.renew([queue], holder)
        claimed = self._claim([self._want(queue, count, suspects=2)])
        self.pair.clock.now += 1_000
        self._settle(claimed, ending, 0, count)

    @rule(queue=queues, message=messages, ending=endings)
    def publish_and_work(self, queue: str, message: Message, ending: Ended) -> None:
        self._do(partial(self.pair.publish, queue, [message._replace(due="")], None))
        self.work(queue, 2, ending)

    @rule(queue=queues, ago=st.integers(0, 2), others=booleans)
    def lose(self, queue: str, ago: int, others: bool) -> None:
        """Let one lease end while somebody looks often enough, and take back what it held."""
        holding = list(self.pair.queues[queue].held) or self._holders
        lost = _pick(holding, ago)
        for _ in range(2):
            self.pair.clock.now += self.pair.limits.lease // 2
            if others:
                for holder in self._holders[-3:]:
                    if holder != lost:
                        self.pair.renew([queue], holder)
            self.pair.upkeep([queue])
        # One process is taken back per call, whoever ended first.
        while (
            self.pair.queues[queue].leases.get(lost, self.pair.clock.now + 1) <= self.pair.clock.now
        ):
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
        self._publish(queue, IDS[:2])
        for _ in range(times):
            self._join((queue,))
            self._claim([self._want(queue, count, suspects=2)])
            self.lose(queue, 0, others=False)
        self._join((queue,))
        self._settle(self._claim([self._want(queue, 3, suspects=suspects)]), ending, 0, 3)
        if then == "cancel" and (lane := self.pair.queues[queue].lanes["solo"]):
            self._do(partial(self.pair.cancel, queue, lane[0]))
        alone = self._claim_solo(queue, self._holders[-1], self._first(1), is_empty=is_empty)
        for _ in range(2 if then == "lose" and alone else 0):
            self.lose(queue, 0, others=False)
            self._join((queue,))
            alone = self._claim_solo(queue, self._holders[-1], self._first(1), is_empty=True)
        self._settle(alone, ending, 0, 1)
        self._claims[-1]()
        self._do(partial(self.pair.depart, (queue,), self._holders[-1]))
        self._join((queue,))

    @rule(queue=queues, is_cancelled=booleans)
    def isolate(self, queue: str, is_cancelled: bool) -> None:
        """Let all there is end three processes, then one job two more while it is alone."""
        self._publish(queue, IDS)
        for _ in range(3):
            self._join((queue,))
            self._claim([self._want(queue, 6, suspects=6)])
            self.lose(queue, 0, others=False)
        if is_cancelled and (lane := self.pair.queues[queue].lanes["solo"]):
            self._do(partial(self.pair.cancel, queue, lane[0]))
        for _ in range(4):
            self._join((queue,))
            self._claim_solo(queue, self._holders[-1], self._first(1), is_empty=True)
            self.lose(queue, 0, others=False)

    @rule(queue=queues, count=st.sampled_from([1, 4]), message=messages, action=operators_actions)
    def use_ids_again(self, queue: str, count: int, message: Message, action: str) -> None:
        """Let jobs with chosen ids succeed, forget them, and publish one of them again."""
        for job_id in IDS[:count]:
            self._do(partial(self.pair.publish, queue, [Message(job_id, b"{}", "", True)], None))
            self.work(queue, 3, Ended("done", 0, b"[]"))
        for duration in (self.pair.limits.finished_age, self.pair.limits.id_memory):
            self.pair.clock.now += duration + 1
            self._do(partial(self.pair.publish, queue, [message._replace(due="")], None))
            self._do(partial(getattr(self.pair, action), queue, message.id))
            self._do(partial(self.pair.upkeep, [queue]))

    @rule(queue=queues, needs_all=booleans)
    def publish_more_than_fit(self, queue: str, needs_all: bool) -> None:
        self._publish(queue, IDS, needed=len(IDS) if needs_all else None)

    @rule(queue=queues, count=st.integers(1, 2))
    def claim_twice(self, queue: str, count: int) -> None:
        """Claim twice, and make the first claim again."""
        held = self._held(queue)
        self._publish(queue, "f")
        self.pair.renew([queue], self._holders[-1])
        for _ in range(2):
            held += self._claim([self._want(queue, count, suspects=1)])
        self._claims[-2]()

    @rule(queue=queues, ago=ago, id=st.none() | job_ids, action=operators_actions)
    def operate(self, queue: str, ago: int, id: str | None, action: str) -> None:
        """Cancel, redrive, delete or watch a job there is, or one that need not be."""
        known = list(self.pair.queues[queue].jobs)
        job_id = id or (_pick(known, ago) if known else "a")
        self._do(partial(getattr(self.pair, action), queue, job_id))

    @rule(queue=queues, skip=st.integers(0, 2), count=st.integers(1, 3))
    def look(self, queue: str, skip: int, count: int) -> None:
        for state in JobState:
            self.pair.list_ids(queue, state, skip, count)
        self.pair.counts(queue)
        self.pair.record(queue, IDS)

    @rule(queue=queues, what=st.sampled_from(["token", "poke", "twice", "twice", *EXPIRING]))
    def let_time_pass(self, queue: str, what: str) -> None:
        """Take a token, poke, let what has a time to live go; make calls twice from now on."""
        match what:
            case "twice":
                self.pair.is_twice = not self.pair.is_twice
            case "token":
                self.pair.take_token(queue)
            case "poke":
                self._do(partial(self.pair.poke, queue, self._holders[-1], 300_000))
            case _:
                self.pair.expire(queue, what)

    @rule(duration=steps, is_back=rarely)
    def move_clock(self, duration: int, is_back: bool) -> None:
        self.pair.clock.now += -min(duration, 60_000) if is_back else duration

    @rule(ago=st.integers(0, 3))
    def repeat_a_claim(self, ago: int) -> None:
        """Make a claim again, maybe long after: whatever it brings, nobody expects it."""
        if self._claims:
            _pick(self._claims, ago)()

    @rule(ago=ago)
    def repeat(self, ago: int) -> None:
        """Make a past call again with equal arguments."""
        _pick(self._past, ago)()

    def teardown(self) -> None:
        """Look at all there is, also when what has a time to live is gone."""
        if not hasattr(self, "pair") or not self.pair.agrees:
            return
        queue = QUEUES[0]
        self.look(queue, 0, 3)
        for expiring in EXPIRING:
            for job_id in self.pair.queues[queue].jobs:
                self.pair.watch(queue, job_id)
            self.pair.expire(queue, expiring)

    def _join(self, queues: tuple[str, ...]) -> None:
        holder = f"p{len(self._holders)}"
        self._holders.append(holder)
        self._sequences[holder] = self._requests[holder] = 1
        self._do(partial(self.pair.renew, queues, holder))

    def _publish(self, queue: str, ids: str, *, needed: int | None = None) -> None:
        messages = [Message(job_id, b'{"v":1,"body":3}') for job_id in ids]
        self._do(partial(self.pair.publish, queue, messages, needed))

    def _want(self, queue: str, count: int, *, suspects: int) -> Want:
        return Want(queue, self._holders[-1], count, suspects, self._first(count))

    def _first(self, count: int) -> int:
        return self._next_sequence(self._holders[-1], count)

    def _next_sequence(self, holder: str, count: int, back: int = 0) -> int:
        first = max(1, self._sequences[holder] - back)
        self._sequences[holder] = max(self._sequences[holder], first + count)
        return first

    def _held(self, queue: str) -> list[Held]:
        """Return the deliveries somebody has; the newest process claims where there are none."""
        held = self.pair.queues[queue].held
        found = [
            one
            for one in self._deliveries
            if one.queue == queue
            and held.get(one.holder, {}).get(one.taken.id) == one.taken.delivery
        ]
        if found:
            return found
        self._publish(queue, IDS[:3])
        if self.pair.renew([queue], self._holders[-1])[0].held == -1:
            self._join((queue,))
        return self._claim([self._want(queue, 3, suspects=3)])

    def _settle(
        self,
        deliveries: list[Held],
        ending: Ended,
        ago: int,
        count: int,
        *,
        is_stranger: bool = False,
        twist: str = "",
        is_repeated: bool = False,
    ) -> None:
        if not deliveries:
            return
        last = _pick(deliveries, ago)
        same = [one for one in deliveries if one[:2] == last[:2]]
        chosen = {one.taken[::5]: one for one in [*same[-count:], last]}
        settled = [end(one.taken, ending, twist if one is last else "") for one in chosen.values()]
        holder = self._holders[-1] if is_stranger else last.holder
        self._requests[holder] += not is_repeated
        request = self._requests[holder]
        match ending.action:
            case "done":
                call = partial(self.pair.acknowledge, last.queue, holder, request, settled, 700_000)
            case "release":
                call = partial(self.pair.release, last.queue, holder, request, settled)
            case _:
                call = partial(self.pair.fail, last.queue, holder, request, settled)
        self._do(call)

    def _claim(self, wants: list[Want]) -> list[Held]:
        call = partial(self.pair.claim, wants)
        self._claims.append(call)
        claimed = [
            Held(want.queue, want.holder, taken)
            for want, claim in zip(wants, call(), strict=True)
            for taken in claim.taken
        ]
        self._deliveries += claimed
        return claimed

    def _claim_solo(self, queue: str, holder: str, sequence: int, *, is_empty: bool) -> list[Held]:
        call = partial(
            self.pair.claim_solo, queue, holder, sequence, is_empty=is_empty, turn=200_000
        )
        self._claims.append(call)
        taken = call()
        claimed = [Held(queue, holder, taken)] if isinstance(taken, Taken) else []
        self._deliveries += claimed
        return claimed

    def _do(self, call: Callable[[], object]) -> None:
        self._past.append(call)
        call()


def machine_for(client: BlockingClient) -> type[EngineMachine]:
    """Return a machine that drives the engine of one store, which it empties."""
    return type("EngineMachine", (EngineMachine,), {"client": client})


def _pick(values: list[_T], ago: int) -> _T:
    return values[-1 - ago % len(values)]
