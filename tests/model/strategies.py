"""What the machine chooses from: mostly what leads somewhere, now and then anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from tests.model.claiming import Taken
from tests.model.jobs import Limits
from tests.model.publishing import Message
from tests.model.settling import Settled

_Value = TypeVar("_Value")
QUEUES = ("letters", "parcels")

#: Mostly one queue, so that much happens in it.
queues = st.sampled_from([QUEUES[0], QUEUES[0], QUEUES[0], QUEUES[1]])
one_or_both = st.sampled_from([QUEUES[:1], QUEUES[:1], QUEUES])
IDS = "abcdef"
job_ids = st.sampled_from(IDS)
#: How far back something lies: 0 is the newest.
ago = st.integers(0, 11)
booleans = st.booleans()
rarely = st.sampled_from([False, False, False, True])
delays = st.sampled_from([0, 1, 500, 5_000, 45_000])
dues = st.one_of(st.just(""), st.just(""), delays.map("d{}".format), delays.map("a{}".format))
_envelopes = st.sampled_from([b'{"v":1,"body":{}}', b'{"v":1,"body":{"a":[1]}}'])


def _messages(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return st.tuples(*parts).map(lambda values: Message(*values))


messages = _messages(job_ids, _envelopes, dues, booleans)
PARTITIONS, LOCKS = "KL", "UV"
partitions = st.sampled_from(PARTITIONS)
levels = st.sampled_from(["", "high", "low"])
_scopes = st.sampled_from(["w", "d", "d", "t60000", "t200000"])
uniques = st.builds("{}:{}".format, _scopes, st.sampled_from("krpx"))
expiries = st.sampled_from(["", "", "d1", "d20000", "d90000", "a1"])
_follows = st.sampled_from(["", "", "", "then", "+then"])
#: Mostly with one thing or two that they ask for, as the others would get in the way of it.
_parts = st.sampled_from(["", "", "K", "K", "L"])
_begin = (job_ids, _envelopes, dues, rarely, levels)
_no = st.just("")
special_messages = st.one_of(
    _messages(*_begin, _parts, _no, _no, _no, _follows),
    _messages(*_begin, _parts, expiries, _no, _no, _follows),
    _messages(*_begin, st.sampled_from(["", "K"]), expiries, uniques, st.sampled_from(LOCKS)),
)
#: Limits as code declares them; mostly none.
_SIMPLE = ["", "", "", "c1", "k1", "k2", "o", "s1/60000", "s1/60000", "r2/60000"]
_MIXED = [
    "c2;r3/90000",
    "c3;k1;s2/60000",
    "o;s2/100000",
    "r3/60000,4/200000;k2",
    "k3;s3/60000,1/20",
]
rules = st.sampled_from(_SIMPLE + _MIXED)
overrides = st.sampled_from(["-", "-", "c1", "k1", "k3", "o", "r1/60000", "s2/40000", "c4;k2"])
plain_messages = job_ids.map(lambda job_id: Message(job_id, b'{"v":1,"body":1}'))
limits = st.sampled_from(
    [
        Limits(queue_length=15),
        Limits(queue_length=2),
        Limits(queue_length=12, finished_count=3),
        Limits(queue_length=3, finished_count=0, dead_count=0, finished_min_age=0),
        Limits(
            queue_length=20,
            finished_age=20_000,
            finished_min_age=20_000,
            dead_age=30_000,
            id_memory=30_000,
        ),
    ]
)
steps = st.sampled_from([1, 50, 1_000, 9_000, 11_000, 19_000, 20_001, 45_000, 130_000, 500_000])


class Ended(NamedTuple):
    """How a process ends what it has: ``release``, or as of :class:`Settled`."""

    action: str
    delay: int
    result: bytes | None
    is_queue: bool = False


class Held(NamedTuple):
    """A delivery that somebody had at some time."""

    queue: str
    holder: str
    taken: Taken


_REASONS = {("dead", True): "failed", ("limited", True): "queue"}
_ACTIONS = ["done", "done", "retry", "retry", "snooze", "dead", "dead", "cancel", "release"]
_results = st.sampled_from([None, None, b"{}", b"[1,2]"])
endings = st.builds(Ended, st.sampled_from([*_ACTIONS, "limited"]), delays, _results, booleans)
operators_actions = st.sampled_from(["cancel", "cancel", "redrive", "delete", "watch"])
given_back = st.just(Ended("release", 0, None))
#: The kinds of keys that Redis itself ends.
EXPIRING = [
    "watched",
    "turn",
    "grace",
    "result",
    "calls",
    "history",
    "poke",
    "held_back",
    "starts",
    "joins",
]


def pick(values: Sequence[_Value], ago: int) -> _Value:
    """Return the value that lies so far back, counted round and round; 0 is the newest."""
    return values[-1 - ago % len(values)]


def end(taken: Taken, ending: Ended, twist: str) -> Settled:
    """Return how one delivery ends; ``twist`` says what is wrong with its token."""
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
        reason=_REASONS.get((action, ending.is_queue or action == "dead"), ""),
        error='{"outcome":"failed","error":"ValueError: no"}'
        if action in {"retry", "dead"} or (action == "cancel" and ending.is_queue)
        else "",
        run=250,
        wait=delivery.started - taken.published,
        is_chosen=taken.is_chosen,
        result=ending.result,
    )
