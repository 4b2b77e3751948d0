"""What the machine chooses from: mostly what leads somewhere, now and then anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from tests.model.claiming import Taken
from tests.model.jobs import Limits
from tests.model.operations import Message
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
        Limits(queue_length=2),
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


_ACTIONS = ["done", "done", "retry", "retry", "snooze", "dead", "dead", "cancel", "release"]
endings = st.builds(
    Ended, st.sampled_from(_ACTIONS), delays, st.sampled_from([None, None, b"{}", b"[1,2]"])
)
operators_actions = st.sampled_from(["cancel", "cancel", "redrive", "delete", "watch"])
#: The kinds of keys that Redis itself ends.
EXPIRING = ["watched", "turn", "grace", "result", "calls", "history", "poke"]


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
        reason="failed" if action == "dead" else "",
        error='{"outcome":"failed","error":"ValueError: no"}'
        if action in {"retry", "dead"}
        else "",
        run=250,
        wait=delivery.started - taken.published,
        is_chosen=taken.is_chosen,
        result=ending.result,
    )
