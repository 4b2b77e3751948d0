"""What is known of a queue as a whole, and why a job of it does not run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from redispatcher_fastapi.limits import Limit


@dataclass(frozen=True, slots=True)
class QueuePause:
    """Somebody paused a queue; ``until`` is ``None`` where only ``resume`` ends it."""

    since: datetime
    until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """One partition of a queue.

    ``running`` counts the jobs that occupy it: where the order is kept, one that waits for its next
    attempt does, too.
    """

    key: str
    waiting: int
    running: int
    rests_until: datetime | None


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """What Redis knows of one queue at one moment.

    ``limits`` are those that ``Inspector.set_limits`` set; ``None`` where each pool has those of
    its code. ``rests_until`` is set by a job that raised ``RateLimited`` for the whole queue.
    ``pools`` counts the processes that may take its jobs, ``waiting`` the jobs that could run now,
    or whenever it is their turn. ``partitions`` are those with the longest lines.
    """

    queue: str
    paused: QueuePause | None
    rests_until: datetime | None
    limits: tuple[Limit, ...] | None
    waiting: int
    running: int
    pools: int
    partitions_waiting: int
    partitions_resting: int
    partitions: tuple[PartitionRecord, ...]


class WaitingReason(StrEnum):
    """Why a job does not run at this moment."""

    #: It waits for its time.
    SCHEDULED = "scheduled"
    #: An attempt failed, and it waits for the next one.
    RETRYING = "retrying"
    #: Its queue is paused.
    PAUSED = "paused"
    #: No process has a lease on its queue.
    NO_POOL = "no_pool"
    #: A rate is used up, or somebody raised ``RateLimited``.
    RATE_LIMITED = "rate_limited"
    #: Another job of its partition comes before it, and is not finished.
    ORDERED = "ordered"
    #: As many jobs run as may at once.
    LIMITED = "limited"
    #: It was lost with its process so often that it waits for one that runs nothing else.
    ISOLATED = "isolated"
    #: Nothing holds it back but the jobs before it.
    BEHIND = "behind"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job does not run; ``str(waiting)`` is a sentence for people.

    ``until`` is when that ends by itself, where it is known. ``detail`` is the reason of a pause,
    the job before it in its order, the state of one that is finished (``expired``: it was cancelled
    for that), or whether a limit is that of the ``queue`` or of the ``partition``.
    """

    queue: str
    job_id: str
    reason: WaitingReason
    until: datetime | None = None
    detail: str = ""

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until.isoformat(timespec='seconds')}"
        return f"Job {self.job_id} in queue {self.queue!r} {self._clause(until)}."

    def _clause(self, until: str) -> str:
        match self.reason:
            case WaitingReason.SCHEDULED:
                return f"is scheduled: it waits{until}"
            case WaitingReason.RETRYING:
                return f"waits for its next attempt{until}"
            case WaitingReason.PAUSED:
                why = f" ({self.detail})" if self.detail else ""
                return f"waits, as the queue is paused{until}{why}"
            case WaitingReason.NO_POOL:
                return "waits, as no pool takes jobs of this queue"
            case WaitingReason.RATE_LIMITED:
                return f"waits{until}, as its {self.detail} may not start more before"
            case WaitingReason.ORDERED:
                before = f"job {self.detail}" if self.detail else "another job"
                return f"waits for {before}, which comes before it and is not finished"
            case WaitingReason.LIMITED:
                return f"waits, as its {self.detail} runs as many jobs as it may at once"
            case WaitingReason.ISOLATED:
                return "waits for a process that runs nothing else, as it was lost so often"
            case WaitingReason.BEHIND:
                return "waits for its turn, and for a free slot"
            case WaitingReason.RUNNING:
                return "runs"
            case WaitingReason.FINISHED:
                return f"is finished ({self.detail})"
