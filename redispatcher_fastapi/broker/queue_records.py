"""Reads what the scripts tell of a queue as a whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.ids import read_id
from redispatcher_fastapi.broker.scripts import as_bytes, as_text
from redispatcher_fastapi.clock import from_milliseconds
from redispatcher_fastapi.limits import parse_rules
from redispatcher_fastapi.queues import (
    PartitionRecord,
    QueuePause,
    QueueRecord,
    Waiting,
    WaitingReason,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

#: What stands in the place of limits where none were set.
NO_OVERRIDE = "-"
_PAUSE = re.compile(r"(\d{1,13}),(\d{0,15}),(.*)", re.DOTALL)
_TIME = re.compile(r"\d{1,15}")


def parse_queue(queue: str, reply: Sequence[Any]) -> QueueRecord:
    """Return the record from the reply of ``queue.lua``."""
    paused, rests, limits, waiting, running, pools, lines, resting, partitions = reply
    text = _text(limits)
    return QueueRecord(
        queue=queue,
        paused=_pause(_text(paused)),
        rests_until=_time(_text(rests)),
        limits=None if text == NO_OVERRIDE else parse_rules(text),
        waiting=int(waiting),
        running=int(running),
        pools=int(pools),
        partitions_waiting=int(lines),
        partitions_resting=int(resting),
        partitions=tuple(
            PartitionRecord(
                _text(partitions[at]),
                int(partitions[at + 1]),
                int(partitions[at + 2]),
                _time(_text(partitions[at + 3])),
            )
            for at in range(0, len(partitions), 4)
        ),
    )


def parse_waiting(queue: str, job_id: str, reply: Sequence[Any]) -> Waiting | None:
    """Return the reason from the reply of ``why.lua``, ``None`` for a job that is unknown."""
    if not reply:
        return None
    reason = WaitingReason(as_text(reply[0]))
    is_job = reason is WaitingReason.ORDERED
    detail = read_id(reply[2]) if is_job else _text(reply[2])
    return Waiting(queue, job_id, reason, _time(_text(reply[1])), detail)


def _pause(text: str) -> QueuePause | None:
    found = _PAUSE.fullmatch(text)
    if found is None:
        return None  # or somebody wrote it by hand
    since, until, reason = found.groups()
    return QueuePause(from_milliseconds(int(since)), _time(until), reason)


def _time(text: str) -> datetime | None:
    return from_milliseconds(int(text)) if _TIME.fullmatch(text) else None


def _text(value: bytes | str) -> str:
    return as_bytes(value).decode(errors="replace")
