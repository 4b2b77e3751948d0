"""How a pool does, for whoever probes it: cheap to ask for, from any thread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from redispatcher_fastapi.pool.contact import Contact
    from redispatcher_fastapi.pool.lanes import Lane


class PoolState(StrEnum):
    """Where a pool is in its life.

    ``starting`` until Redis was found usable, ``draining`` while it takes nothing more and what
    runs may take its time, ``stopping`` from when it was told to stop, and ``stopped`` also after a
    crash.
    """

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """How one process does on one queue.

    In a cluster each queue is on a shard of its own, and can be away while others are not;
    elsewhere all queues share everything but ``slots``, ``running`` and ``oldest_unacknowledged``.
    """

    queue: str
    #: How many jobs of the queue run at once in this process, and how many do now. Where they run
    #: in batches, that is the jobs of all batches; those that gather count as running.
    slots: int
    running: int
    #: Whether Redis answered the last claim, the last renewal of the leases and the last upkeep;
    #: and, while there are free slots, a claim within the last half minute. A pool that waits for
    #: work, or whose slots are all taken, need not have claimed lately to be able to.
    can_claim: bool
    #: When Redis last answered a claim, with jobs or without, by this machine's clock; ``None``
    #: before the first. An idle pool claims every few seconds, one without a free slot does not.
    last_claim_at: datetime | None
    #: How long ago that was, by a clock that nobody sets.
    since_last_claim: timedelta | None
    #: How long Redis took to answer the last renewal of the leases, every third of a lease. It is
    #: measured in a thread, so that a busy event loop does not count. ``None`` before the first.
    redis_latency: timedelta | None
    #: For how long Redis has not answered; ``None`` while it does.
    unanswered_for: timedelta | None
    #: Why the queue cannot be claimed from, in one bounded line without a DSN or a message.
    reason: str | None
    #: For how long the outcome of some job has been waiting for Redis to confirm it, at most;
    #: ``None`` when there is none.
    oldest_unacknowledged: timedelta | None


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """How one pool does at one moment; what is said of it as a whole is the worst of its queues."""

    state: PoolState
    lease: timedelta
    #: Jobs that run now, those included that do not heed their cancellation.
    running: int
    #: How late the event loop does what is due, measured at least once a second; while it is
    #: blocked, for how long it has been. ``None`` unless the pool runs.
    loop_lag: timedelta | None
    queues: tuple[QueueHealth, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether there are no :attr:`problems`.

        It is what a readiness probe wants to know. Do not restart a pool for it: a Redis that is
        away makes all of them unhealthy, and they go on by themselves.
        """
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the pool is not healthy, a sentence for each reason.

        It does not run, or not yet, or is told to stop; it cannot claim from a queue; its event
        loop is late by more than half a lease; or the outcome of a job has been waiting to be
        confirmed for longer than that.
        """
        return tuple(self._find_problems())

    @property
    def can_claim(self) -> bool:
        """Whether the pool runs, and every queue can be claimed from."""
        return self.state is PoolState.RUNNING and all(queue.can_claim for queue in self.queues)

    @property
    def since_last_claim(self) -> timedelta | None:
        """How long ago Redis answered a claim from the queue for which that is the longest.

        ``None`` while there is a queue of which none was ever answered.
        """
        known = [each.since_last_claim for each in self.queues]
        return None if None in known else _longest(known)

    @property
    def redis_latency(self) -> timedelta | None:
        """How long the slowest of the last answers took."""
        return _longest([queue.redis_latency for queue in self.queues])

    @property
    def unanswered_for(self) -> timedelta | None:
        """For how long Redis has not answered for some queue."""
        return _longest([queue.unanswered_for for queue in self.queues])

    @property
    def oldest_unacknowledged(self) -> timedelta | None:
        """For how long the outcome of some job has been waiting to be confirmed."""
        return _longest([queue.oldest_unacknowledged for queue in self.queues])

    def _find_problems(self) -> Iterator[str]:
        limit = self.lease / 2
        if self.state is not PoolState.RUNNING:
            yield f"The pool is {self.state}."
        yielded: set[str | None] = set()
        for queue in self.queues:
            if not queue.can_claim and queue.reason not in yielded:
                yielded.add(queue.reason)
                yield f"Queue {queue.queue!r} cannot be claimed from: {queue.reason}"
        if self.loop_lag is not None and self.loop_lag > limit:
            yield f"The event loop has been blocked for {self.loop_lag.total_seconds():.1f} s."
        if (waiting := self.oldest_unacknowledged) is not None and waiting > limit:
            seconds = waiting.total_seconds()
            yield f"Redis has not confirmed for {seconds:.1f} s how a job ended."


def queue_health(lane: Lane, contact: Contact, *, unconfirmed: float | None) -> QueueHealth:
    """Return how a process does on one queue; ``unconfirmed`` are the seconds of the oldest end."""
    problem = contact.problem
    return QueueHealth(
        queue=lane.queue,
        slots=lane.slots,
        running=len(lane.runs),
        can_claim=problem is None,
        last_claim_at=contact.last_claim_at,
        since_last_claim=contact.since_last_claim,
        redis_latency=contact.latency,
        unanswered_for=contact.unanswered_for,
        reason=problem,
        oldest_unacknowledged=None if unconfirmed is None else timedelta(seconds=unconfirmed),
    )


def _longest(times: list[timedelta | None]) -> timedelta | None:
    return max((time for time in times if time is not None), default=None)
