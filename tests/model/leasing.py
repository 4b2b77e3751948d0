"""Leases in the model: renewed, ended, and what upkeep takes back and forgets."""

from __future__ import annotations

from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls
from tests.model.projection import project
from tests.model.queue import CALLS_TTL, Queue

#: What only queues have that are special.
SPECIAL = {
    *("control", "levels", "partitions", "lines", "slots", "resting", "moved", "expiries", "locks"),
    *("cancelling", "ready:high", "ready:low", "held_back", "flows"),
}
FORGOTTEN_AT_ONCE, IDS_AT_ONCE = 100, 1000
MOST_LOSSES, MOST_SOLO_LOSSES = 9, 2


def renew(queue: Queue, holder: str) -> int:
    """Return how many jobs the process holds, -1 if it was given up."""
    queue.look()
    if queue.calls.get(holder, Calls()).is_given_up:
        return -1
    if holder not in queue.leases and holder in queue.calls:
        queue.calls[holder].ttl = None
    queue.leases[holder] = queue.now + queue.limits.lease
    return len(queue.held.get(holder, {}))


def depart(queue: Queue, holder: str) -> int:
    if holder in queue.held:
        return 0
    queue.leases.pop(holder, None)
    queue.calls.pop(holder, None)
    if not queue.leases:
        queue.last_look = None
    queue.end_turn(holder)
    return 1


class Upkeep(NamedTuple):
    """The answer of upkeep for one queue; ``next_end`` is -1 where no lease runs.

    ``grace`` is the note of when leases last began anew, ``time`` is now, and ``is_onward`` says
    that there are ends to be passed on.
    """

    next_end: int
    taken_back: list[tuple[str, int, str]]
    has_more: bool
    grace: str
    time: int
    is_onward: bool = False


def keep_up(queue: Queue) -> Upkeep:
    queue.look()
    over = [(end, holder) for holder, end in queue.leases.items() if end <= queue.now]
    taken_back = _take_back(queue, min(over)[1]) if over else []
    limits = queue.limits
    has_more = queue.trim(JobState.SUCCEEDED, FORGOTTEN_AT_ONCE)
    has_more |= queue.trim(JobState.CANCELLED, FORGOTTEN_AT_ONCE)
    has_more |= _forget_dead(queue, queue.now - limits.dead_age, FORGOTTEN_AT_ONCE)
    excess = len(queue.ids_in(JobState.DEAD)) - limits.dead_count
    has_more |= _forget_dead(queue, queue.now, excess)
    has_more |= _forget_ids(queue, queue.now, IDS_AT_ONCE)
    has_more |= _forget_ids(queue, None, len(queue.remembered) - limits.queue_length)
    has_more |= _expire(queue)
    has_more |= _end_windows(queue)
    queue.is_special = queue.is_special and bool(SPECIAL & project(queue).keys())
    ends = [max(0, end - queue.now) for end in queue.leases.values()]
    next_end = min(ends, default=-1)
    return Upkeep(next_end, taken_back, has_more, queue.grace, queue.now, bool(queue.onward))


def _take_back(queue: Queue, holder: str) -> list[tuple[str, int, str]]:
    report: list[tuple[str, int, str]] = []
    del queue.leases[holder]
    for job_id, delivery in queue.held.pop(holder, {}).items():
        job = queue.jobs[job_id]
        faults = queue.charge(job, losses=1, solo_losses=int(delivery.is_alone))
        queue.add_attempt(job_id, delivery.started, '{"outcome":"lost"}')
        is_over = faults.losses >= MOST_LOSSES or faults.solo_losses >= MOST_SOLO_LOSSES
        place = "dead" if is_over else job.lane
        if job_id in queue.cancelling:
            place = "cancelled"
            queue.end_cancelled(job, delivery.started, faults.errors, faults.losses)
        elif is_over:
            queue.bury(job, delivery.started, faults.errors, faults.losses, "worker_lost")
        elif job.partition:
            queue.free_slot(job)
            queue.queue_up(job, is_first=True)
        else:
            job.state = JobState.QUEUED
            queue.lane(place).append(job_id)
        report.append((job_id, faults.losses, place))
    calls = queue.calls_of(holder)
    calls.is_given_up = True
    calls.ttl = max(20 * queue.limits.lease, CALLS_TTL)
    if report:
        queue.stats["lost"] += len(report)
        queue.is_held_back = False
        queue.wake()
    return report


def _forget_dead(queue: Queue, latest: int, count: int) -> bool:
    budget = min(count, FORGOTTEN_AT_ONCE)
    if budget <= 0:
        return False
    latest = min(latest, queue.now - queue.limits.finished_min_age)
    dead = [queue.jobs[job_id] for job_id in queue.ids_in(JobState.DEAD)]
    old = [job for job in dead if job.ending is not None and job.ending.at < latest][:budget]
    for job in old:
        queue.forget(job)
    return len(old) == FORGOTTEN_AT_ONCE


def _forget_ids(queue: Queue, latest: int | None, count: int) -> bool:
    budget = max(0, min(count, IDS_AT_ONCE))
    oldest = sorted(queue.remembered, key=lambda job_id: (queue.remembered[job_id], job_id))
    due = [one for one in oldest if latest is None or queue.remembered[one] <= latest]
    for job_id in due[:budget]:
        del queue.remembered[job_id]
    return budget > 0 and len(due[:budget]) == IDS_AT_ONCE


def _expire(queue: Queue) -> bool:
    """End jobs that have not started in time."""
    waiting = [job for job in queue.jobs.values() if job.expires is not None]
    over = [job for job in waiting if job.expires is not None and job.expires <= queue.now]
    for job in sorted(over, key=lambda job: (job.expires, job.id))[:FORGOTTEN_AT_ONCE]:
        queue.take_out(job)
        queue.expire(job)
    return len(over) >= FORGOTTEN_AT_ONCE


def _end_windows(queue: Queue) -> bool:
    """Let go of locks for a time that is over."""
    over = [key for key, until in queue.windows.items() if until <= queue.now]
    for key in sorted(over, key=lambda key: (queue.windows[key], key))[:IDS_AT_ONCE]:
        del queue.windows[key], queue.uniques[key]
    return len(over) >= IDS_AT_ONCE
