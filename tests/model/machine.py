"""Drives the engine and its model with whatever processes, publishers and operators may do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Limits
from tests.model.operations import Message
from tests.model.pair import Pair, Want
from tests.model.store import Client
from tests.model.working import Settled, Taken

QUEUES = ("letters", "parcels")
_T = TypeVar("_T")

#: Mostly one queue, so that much happens in it.
queues = st.sampled_from([QUEUES[0], QUEUES[0], QUEUES[0], QUEUES[1]])
both = st.sampled_from([QUEUES[:1], QUEUES[:1], QUEUES])
IDS = "abcdef"
job_ids = st.sampled_from(IDS)
#: How far back something lies: 0 is the newest.
ago = st.integers(0, 11)
booleans = st.booleans()
rarely = st.sampled_from([False, False, False, True])
delays = st.sampled_from([0, 1, 500, 5_000, 45_000])
dues = st.one_of(st.just(""), st.just(""), delays.map("d{}".format), delays.map("a{}".format))
messages = st.builds(
    Message,
    job_ids,
    st.sampled_from([b'{"v":1,"body":{}}', b'{"v":1,"body":{"a":[1]}}']),
    dues,
    booleans,
)
plain_messages = job_ids.map(lambda job_id: Message(job_id, b'{"v":1,"body":1}'))
limits = st.sampled_from(
    [
        Limits(),
        Limits(),
        Limits(queue_length=12, finished_count=3),
        Limits(queue_length=3, finished_count=0, dead_count=0, finished_min_age=0),
        Limits(finished_age=20_000, finished_min_age=20_000, dead_age=30_000, id_memory=30_000),
    ]
)
steps = st.sampled_from([1, 50, 1_000, 9_000, 11_000, 19_000, 20_001, 45_000, 130_000, 500_000])


class Ended(NamedTuple):
    """How a process ends what it has: ``release``, or as of :class:`Settled`."""

    action: str
    delay: int
    result: bytes | None


class Held(NamedTuple):
    """A delivery that somebody had at some time."""

    queue: str
    holder: str
    taken: Taken


actions = ["done", "done", "retry", "retry", "snooze", "dead", "dead", "release"]
endings = st.builds(
    Ended, st.sampled_from(actions), delays, st.sampled_from([None, None, b"{}", b"[1,2]"])
)
operators_actions = st.sampled_from(["cancel", "cancel", "redrive", "delete", "watch"])
EXPIRING = ["watched", "turn", "result", "calls", "history"]


class EngineMachine(RuleBasedStateMachine):
    """Subclasses name the ``client``, see :func:`machine_for`."""

    client: Client

    def __init__(self) -> None:
        super().__init__()
        self._holders = ["p0"]
        self._sequences = {"p0": 1}
        self._requests = {"p0": 1}
        self._deliveries: list[Held] = []
        self._past: list[Callable[[], object]] = []

    @initialize(limits=limits)
    def begin(self, limits: Limits) -> None:
        self.pair = Pair(self.client, QUEUES, limits)
        self._do(partial(self.pair.renew, QUEUES, "p0"))

    @rule(queue=queues, messages=st.lists(messages, min_size=1, max_size=4), needs_all=rarely)
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

    @rule(ending=endings, ago=ago, count=st.integers(1, 3))
    def settle(self, ending: Ended, ago: int, count: int) -> None:
        """End deliveries that somebody still has."""
        held = [one for one in self._deliveries if self._is_held(one)]
        self._settle(held, ending, ago, count)

    @rule(
        ending=endings,
        ago=ago,
        count=st.integers(1, 3),
        stranger=rarely,
        twist=st.sampled_from(["", "", "star", "sequence", "time"]),
        repeats=rarely,
    )
    def settle_wrongly(
        self, ending: Ended, ago: int, count: int, stranger: bool, twist: str, repeats: bool
    ) -> None:
        """End any delivery there ever was, under its holder's name or another one's."""
        self._settle(
            self._deliveries, ending, ago, count, stranger=stranger, twist=twist, repeats=repeats
        )

    @rule(queue=queues, count=st.integers(1, 3), ending=endings)
    def work(self, queue: str, count: int, ending: Ended) -> None:
        """Let the newest process claim, and end all it got a second later."""
        holder = self._holders[-1]
        self.pair.renew([queue], holder)
        claimed = self._claim([Want(queue, holder, count, 2, self._next_sequence(holder, count))])
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

    @rule(
        queue=queues, count=st.integers(1, 2), times=st.sampled_from([1, 1, 3]), is_empty=booleans
    )
    def kill_processes(self, queue: str, count: int, times: int, is_empty: bool) -> None:
        """Let whatever runs next end processes; after three it must run alone."""
        for _ in range(times):
            self._join((queue,))
            holder = self._holders[-1]
            self._claim([Want(queue, holder, count, 2, self._next_sequence(holder, count))])
            self.lose(queue, 0, others=False)
        self._join((queue,))
        self.claim_solo(queue, 0, is_empty, 0)

    @rule(queue=queues, ago=ago, id=st.none() | job_ids, action=operators_actions)
    def operate(self, queue: str, ago: int, id: str | None, action: str) -> None:
        """Cancel, redrive, delete or watch a job there is, or one that need not be."""
        known = list(self.pair.queues[queue].jobs)
        job_id = id or (_pick(known, ago) if known else "a")
        self._do(partial(getattr(self.pair, action), queue, job_id))

    @rule(
        queue=queues,
        state=st.sampled_from(JobState),
        skip=st.integers(0, 2),
        count=st.integers(1, 3),
    )
    def look(self, queue: str, state: JobState, skip: int, count: int) -> None:
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

    @rule(ago=ago)
    def repeat(self, ago: int) -> None:
        """Make a past call again with equal arguments."""
        _pick(self._past, ago)()

    def _join(self, queues: tuple[str, ...]) -> None:
        holder = f"p{len(self._holders)}"
        self._holders.append(holder)
        self._sequences[holder] = self._requests[holder] = 1
        self._do(partial(self.pair.renew, queues, holder))

    def _next_sequence(self, holder: str, count: int, back: int = 0) -> int:
        first = max(1, self._sequences[holder] - back)
        self._sequences[holder] = max(self._sequences[holder], first + count)
        return first

    def _is_held(self, one: Held) -> bool:
        held = self.pair.queues[one.queue].held.get(one.holder, {})
        return held.get(one.taken.id) == one.taken.delivery

    def _settle(
        self,
        deliveries: list[Held],
        ending: Ended,
        ago: int,
        count: int,
        *,
        stranger: bool = False,
        twist: str = "",
        repeats: bool = False,
    ) -> None:
        if not deliveries:
            return
        last = _pick(deliveries, ago)
        same = [one for one in deliveries if one[:2] == last[:2]]
        chosen = {one.taken[::5]: one for one in [*same[-count:], last]}
        settled = [_end(one.taken, ending, twist if one is last else "") for one in chosen.values()]
        holder = self._holders[-1] if stranger else last.holder
        self._requests[holder] += not repeats
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
        self._past.append(call)
        claimed = [
            Held(want.queue, want.holder, taken)
            for want, claim in zip(wants, call(), strict=True)
            for taken in claim.taken
        ]
        self._deliveries += claimed
        return claimed

    def _claim_solo(self, queue: str, holder: str, sequence: int, *, is_empty: bool) -> None:
        call = partial(
            self.pair.claim_solo, queue, holder, sequence, is_empty=is_empty, turn=200_000
        )
        self._past.append(call)
        taken = call()
        if isinstance(taken, Taken):
            self._deliveries.append(Held(queue, holder, taken))

    def _do(self, call: Callable[[], object]) -> None:
        self._past.append(call)
        call()


def machine_for(client: Client) -> type[EngineMachine]:
    """Return a machine that drives the engine of one store, which it empties."""
    return type("EngineMachine", (EngineMachine,), {"client": client})


def _pick(values: list[_T], ago: int) -> _T:
    return values[-1 - ago % len(values)]


def _end(taken: Taken, ending: Ended, twist: str) -> Settled:
    action = ending.action
    sequence, started, is_alone = taken.delivery
    delivery = taken.delivery
    match twist:
        case "star":
            delivery = delivery._replace(is_alone=not is_alone)
        case "sequence":
            delivery = delivery._replace(sequence=sequence + 1)
        case "time":
            delivery = delivery._replace(started=started + 1)
        case _:
            pass
    return Settled(
        taken.id,
        delivery.token,
        action,
        ending.delay,
        reason="failed" if action == "dead" else "",
        error='{"outcome":"failed","error":"ValueError: no"}'
        if action in {"retry", "dead"}
        else "",
        run=250,
        wait=delivery.started - taken.published,
        is_chosen=taken.is_chosen,
        result=ending.result,
    )
