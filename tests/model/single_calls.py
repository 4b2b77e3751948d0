"""What happens one call at a time: every operation, with whatever arguments there may be."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from redispatcher_fastapi.broker.scripts import BlockingClient
from redispatcher_fastapi.job import JobState
from tests.model.actors import Actors
from tests.model.claiming import Want
from tests.model.jobs import Limits
from tests.model.lines import LEVELS
from tests.model.pair import Pair
from tests.model.publishing import Message
from tests.model.strategies import (
    EXPIRING,
    IDS,
    QUEUES,
    Ended,
    ago,
    booleans,
    endings,
    job_ids,
    limits,
    messages,
    one_or_both,
    operators_actions,
    overrides,
    pick,
    plain_messages,
    queues,
    rarely,
    rules,
    special_messages,
    steps,
)


class SingleCalls(RuleBasedStateMachine):
    """A pair and its actors, new in every example; subclasses name the ``client``."""

    client: ClassVar[BlockingClient]
    #: How many examples there were.
    begun: ClassVar[int] = 0

    @initialize(limits=limits, rules=st.tuples(rules, rules), is_drained=rarely)
    def begin(self, limits: Limits, rules: tuple[str, str], is_drained: bool) -> None:
        type(self).begun += 1
        self.is_drained = is_drained
        self.pair = Pair(self.client, QUEUES, limits)
        self.actors = Actors(self.pair, dict(zip(QUEUES, rules, strict=True)))
        self.actors.join(QUEUES)

    @rule(
        queue=queues,
        messages=st.lists(messages | special_messages, min_size=1, max_size=4),
        needs_all=booleans,
    )
    def publish(self, queue: str, messages: list[Message], needs_all: bool) -> None:
        needed = len(messages) if needs_all else None
        now = self.pair.clock.now
        timed = [
            one._replace(due=f"a{now + int(one.due[1:])}") if one.due.startswith("a") else one
            for one in messages
        ]
        self.actors.do(partial(self.pair.publish, queue, timed, needed))

    @rule(queue=queues, messages=st.lists(plain_messages, min_size=1, max_size=4))
    def publish_plainly(self, queue: str, messages: list[Message]) -> None:
        self.actors.do(partial(self.pair.publish, queue, messages, None))

    @rule(
        queues=one_or_both,
        ago=ago,
        action=st.sampled_from(["join", "renew", "renew", "depart", "upkeep", "upkeep"]),
    )
    def maintain(self, queues: tuple[str, ...], ago: int, action: str) -> None:
        match action:
            case "join":
                self.actors.join(queues)
            case "upkeep":
                self.actors.do(partial(self.pair.upkeep, queues))
            case _:
                holder = pick(self.actors.holders, ago)
                self.actors.do(partial(getattr(self.pair, action), queues, holder))

    @rule(
        queues=one_or_both,
        ago=st.integers(0, 2),
        count=st.integers(0, 4),
        suspects=st.integers(0, 2),
        back=st.sampled_from([0, 0, 0, 0, 1, 2]),
        other=st.none() | st.none() | rules,
    )
    def claim(
        self,
        queues: tuple[str, ...],
        ago: int,
        count: int,
        suspects: int,
        back: int,
        other: str | None,
    ) -> None:
        """Claim, now and then with the limits of other code."""
        holder = pick(self.actors.holders, ago)
        first = self.actors.next_sequence(holder, count, back)
        self.actors.claim(
            [
                Want(queue, holder, count, suspects, first, self.actors.limits[queue])
                if other is None
                else Want(queue, holder, count, suspects, first, other)
                for queue in queues
            ]
        )

    @rule(queue=queues, ago=st.integers(0, 2), is_empty=booleans, back=st.sampled_from([0, 0, 1]))
    def claim_solo(self, queue: str, ago: int, is_empty: bool, back: int) -> None:
        holder = pick(self.actors.holders, ago)
        sequence = self.actors.next_sequence(holder, 1, back)
        self.actors.claim_solo(queue, holder, sequence, is_empty=is_empty)

    @rule(queue=queues, ending=endings, ago=ago, count=st.integers(1, 3))
    def settle(self, queue: str, ending: Ended, ago: int, count: int) -> None:
        """End deliveries that somebody still has."""
        self.actors.settle(self.actors.ensure_held(queue), ending, ago, count)

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
        self.actors.settle(
            self.actors.ensure_held(queue) if is_held else self.actors.deliveries,
            ending,
            ago,
            count,
            is_stranger=is_stranger,
            twist=twist,
            is_repeated=is_repeated,
        )

    @rule(queue=queues, ago=ago, job_id=st.none() | job_ids, action=operators_actions)
    def operate(self, queue: str, ago: int, job_id: str | None, action: str) -> None:
        """Cancel, redrive, delete or watch a job there is, or one that need not be."""
        known = list(self.pair.queues[queue].jobs)
        chosen = job_id or (pick(known, ago) if known else "a")
        call = partial(getattr(self.pair, action), queue, chosen)
        if job_id and ago == 0 and action in {"cancel", "watch"}:
            call = partial(call, is_to_come=True)
        self.actors.do(call)

    @rule(queue=queues, ends=st.sampled_from(["-", "-", "", "d20000", "d1", "a1"]))
    def pause(self, queue: str, ends: str) -> None:
        self.actors.do(partial(self.pair.pause, queue, ends, "because, of\nthat"))

    @rule(queue=queues, limits=overrides)
    def set_limits(self, queue: str, limits: str) -> None:
        self.actors.do(partial(self.pair.set_limits, queue, limits))

    @rule(queue=queues, ago=ago, levels=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=3))
    def set_priority(self, queue: str, ago: int, levels: list[str]) -> None:
        """Change the level of one job, maybe several times."""
        known = list(self.pair.queues[queue].jobs)
        for level in levels:
            self.actors.do(
                partial(self.pair.set_priority, queue, pick(known, ago) if known else "a", level)
            )

    @rule(
        queue=queues,
        count=st.integers(1, 3),
        group=st.sampled_from(["g", *IDS[:2]]),
        is_hasty=booleans,
        text=st.sampled_from("SSDC"),
    )
    def pass_on(self, queue: str, count: int, group: str, is_hasty: bool, text: str) -> None:
        """Pass ends of jobs on to a group, and forget that they were to be."""
        ends = list(self.pair.onward(queue, []).items())
        self.actors.do(partial(self.pair.onward, queue, ends[:count]))
        self.actors.do(
            partial(self.pair.onward, queue, [(job_id, f"{end}!") for job_id, end in ends])
        )
        for number in range(1, count + 1):
            arrive = partial(self.pair.arrive, queue, group, number, 3, f"{text}{number}")
            self.actors.do(partial(arrive, is_hasty=is_hasty, ttl=600_000))

    @rule(queue=queues, skip=st.integers(0, 2), count=st.integers(1, 3))
    def look(self, queue: str, skip: int, count: int) -> None:
        for state in JobState:
            self.pair.list_ids(queue, state, skip, count)
        self.pair.counts(queue)
        self.pair.record(queue, IDS)

    @rule(queue=queues, what=st.sampled_from(["token", "poke", "twice", "twice", *EXPIRING]))
    def let_the_rest_happen(self, queue: str, what: str) -> None:
        """Take a wake-up token, poke, let one kind of key expire, or turn repetition on or off."""
        match what:
            case "twice":
                self.pair.is_twice = not self.pair.is_twice
            case "token":
                self.pair.take_token(queue)
            case "poke":
                self.actors.do(partial(self.pair.poke, queue, self.actors.newest, 300_000))
            case _:
                self.pair.expire(queue, what)
                self.actors.oracle.forget()

    @rule(duration=steps, is_back=rarely)
    def move_clock(self, duration: int, is_back: bool) -> None:
        self.pair.clock.now += -min(duration, 60_000) if is_back else duration
        if is_back:
            self.actors.oracle.forget()

    @rule(ago=st.integers(0, 3))
    def repeat_a_claim(self, ago: int) -> None:
        """Make a claim again, maybe long after: whatever it brings, nobody expects it."""
        if self.actors.claims:
            pick(self.actors.claims, ago)()

    @rule(ago=ago)
    def repeat(self, ago: int) -> None:
        """Make a past call again with equal arguments."""
        pick(self.actors.calls, ago)()
