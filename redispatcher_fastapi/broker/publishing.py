"""Puts messages into a queue: one round trip, safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.scripts import PUBLISH, as_text
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient
    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.clock import Clock

#: What one script call takes: Lua unpacks at most about 8,000 values, and a call should last under
#: 5 ms.
MAX_BATCH = 1000


async def publish(
    client: CommandClient,
    clock: Clock,
    queue: str,
    submissions: Sequence[Submission],
    *,
    max_queue_length: int,
    room_needed: int | None = None,
) -> list[bool | None]:
    """Return per submission whether the job is new; ``None`` where the queue was full.

    With ``room_needed`` nothing is accepted unless that many jobs fit.
    """
    now = clock.now()
    is_plain = all(map(_is_plain, submissions))
    arguments: list[Argument] = [
        "" if now is None else to_milliseconds(now),
        max_queue_length,
        "" if room_needed is None else room_needed,
        2 if is_plain else 4,
    ]
    for submission in submissions:
        arguments += (submission.job_id, submission.envelope)
        if not is_plain:
            arguments += (_due(submission), "1" if submission.is_chosen_id else "")
    answers = as_text(await PUBLISH.run(client, [queue_prefix(queue)], arguments))
    return [None if answer == "f" else answer == "1" for answer in answers]


def queue_full(queue: str, limit: int) -> QueueFullError:
    """Return the error for a queue at its limit."""
    return QueueFullError(
        f"Queue {queue!r} is full: it may hold {limit} waiting jobs (max_queue_length). "
        "Run more pools, publish less, or raise the limit."
    )


def _is_plain(submission: Submission) -> bool:
    return submission.delay is None and submission.at is None and not submission.is_chosen_id


def _due(submission: Submission) -> str:
    if submission.delay is not None:
        return f"d{to_milliseconds(submission.delay)}"
    if submission.at is not None:
        return f"a{to_milliseconds(submission.at)}"
    return ""
