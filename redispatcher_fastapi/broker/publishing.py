"""Puts messages into a queue: one round trip, safe to repeat."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from redispatcher_fastapi.broker.ids import read_id
from redispatcher_fastapi.broker.scripts import PUBLISH, as_text
from redispatcher_fastapi.broker.types import CREATED, KNOWN, Answer, Traits
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient
    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.clock import Clock

#: What one script call takes: Lua unpacks at most about 8,000 values, and a call should last under
#: 5 ms.
MAX_BATCH = 1000
#: How many values ``publish.lua`` takes per job: without a time or a chosen id, with one, and with
#: anything else that a job can ask for.
PLAIN, TIMED, FULL = 2, 4, 10
#: Answers that name the job which is there instead.
CONFLICTS = frozenset("urpx")
_ANSWERS = {"1": CREATED, "0": KNOWN, "f": None}
_NO_TRAITS = Traits()


async def publish(
    client: CommandClient,
    clock: Clock,
    queue: str,
    submissions: Sequence[Submission],
    *,
    max_queue_length: int,
    room_needed: int | None = None,
) -> list[Answer | None]:
    """Return per submission what became of it; ``None`` where the queue was full.

    With ``room_needed`` nothing is accepted unless that many jobs fit.
    """
    now = clock.now()
    each = _count_values(submissions)
    arguments: list[Argument] = [
        "" if now is None else to_milliseconds(now),
        max_queue_length,
        "" if room_needed is None else room_needed,
        each,
    ]
    if each == PLAIN:
        for submission in submissions:
            arguments += (submission.job_id, submission.envelope)
    else:
        for submission in submissions:
            arguments += job_values(submission)[:each]
    reply = await PUBLISH.run(client, [queue_prefix(queue)], arguments)
    if not isinstance(reply, list):
        return [_ANSWERS[letter] for letter in as_text(reply)]
    letters, others = read_answers(reply)
    found = iter(others)
    return [
        Answer(letter, next(found)) if letter in CONFLICTS else _ANSWERS[letter]
        for letter in letters
    ]


def read_answers(reply: Any) -> tuple[str, list[str]]:
    """Return the letters of a reply, and the jobs that are there instead of those not unique."""
    if isinstance(reply, list):
        letters, *others = cast("list[bytes | str]", reply)
        return as_text(letters), [read_id(other) for other in others]
    return as_text(reply), []


def trait_values(traits: Traits) -> tuple[Argument, ...]:
    """Return the last six of the ten values of a job, see ``lua/adding.lua``."""
    return (
        traits.level,
        traits.partition,
        write_time(traits.expiry),
        traits.lock,
        traits.lock_key,
        traits.continuation,
    )


def job_values(submission: Submission) -> tuple[Argument, ...]:
    """Return the ten values of a job, see ``lua/adding.lua``."""
    start = (_due(submission), "1" if submission.is_chosen_id else "")
    traits = trait_values(submission.traits or _NO_TRAITS)
    return (submission.job_id, submission.envelope, *start, *traits)


def queue_full(queue: str, limit: int) -> QueueFullError:
    """Return the error for a queue at its limit."""
    return QueueFullError(
        f"Queue {queue!r} is full: it may hold {limit} waiting jobs (max_queue_length). "
        "Run more pools, publish less, or raise the limit."
    )


def _count_values(submissions: Sequence[Submission]) -> int:
    """Return how many values each of them needs, as all get the same number."""
    most = PLAIN
    for each in submissions:
        if each.traits is not None:
            return FULL
        if each.is_chosen_id or each.delay is not None or each.at is not None:
            most = TIMED
    return most


def _due(submission: Submission) -> str:
    return write_time(submission.at if submission.delay is None else submission.delay)


def write_time(value: datetime | timedelta | None) -> str:
    """Return a time, or a duration from now, as the scripts take it."""
    if value is None:
        return ""
    return f"{'d' if isinstance(value, timedelta) else 'a'}{to_milliseconds(value)}"
