"""Claims in the model: what a process gets, in which order, and what it gets alone."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls, Delivery, Faults, Job
from tests.model.lines import BAND, LEVELS, ready
from tests.model.queue import Queue
from tests.model.rules import (
    Room,
    Rules,
    allowance,
    note_starts,
    read_rules,
    room_to_start,
    stopped_until,
)
from tests.model.serving import Budget, Serving

PROMOTED_AT_ONCE, SOLO_LOOKED_AT = 500, 100


class Taken(NamedTuple):
    """One job as a claim hands it out."""

    id: str
    published: int
    is_chosen: bool
    envelope: bytes
    faults: Faults
    delivery: Delivery


class Claim(NamedTuple):
    """The answer to one claim for one queue; ``wait`` is -1 where nothing waits for a time.

    ``cancelled`` are jobs of the process that somebody cancelled while they ran.
    """

    has_lease: bool
    wait: int
    solo: int
    taken: list[Taken]
    cancelled: frozenset[str] = frozenset()
    is_paused: bool = False


class Want(NamedTuple):
    """What a process asks of one queue; ``limits`` are those of its code."""

    queue: str
    holder: str
    jobs: int
    suspects: int
    first: int
    limits: str = ""


def claim(queue: Queue, want: Want, budget: Budget) -> Claim:
    holder, first = want.holder, want.first
    if holder not in queue.leases:
        return Claim(False, -1, 0, [])
    cancelled = frozenset(queue.cancelling & queue.held.get(holder, {}).keys())
    last = queue.calls.get(holder, Calls()).claim
    if last is not None and last >= first:
        return _repeat(queue, want, last, cancelled)

    dues = [_promote(queue, JobState.SCHEDULED), _promote(queue, JobState.RETRYING)]
    _end_stops(queue)
    _end_rests(queue)
    rules = read_rules(queue, want.limits)
    room = room_to_start(queue, rules)
    wanted = min(want.jobs, budget.jobs, room.jobs)
    serving = Serving(queue, rules, wanted, want.suspects, budget)
    serving.take_all()
    jobs = serving.jobs
    budget.jobs -= len(jobs)
    taken = [
        _deliver(queue, holder, job, Delivery(sequence, queue.now))
        for sequence, job in enumerate(jobs, start=first)
    ]
    if jobs:
        queue.calls_of(holder).claim = first
    dues += [_hold_back(queue, rules, room, len(jobs)), *_first_rest(queue)]
    _pass_token_on(queue, room, len(jobs), has_more=serving.has_more)
    waits = [max(0, due - queue.now) for due in dues if due is not None]
    solo = 0 if room.is_paused else len(queue.lane("solo"))
    return Claim(True, min(waits, default=-1), solo, taken, cancelled, room.is_paused)


def _repeat(queue: Queue, want: Want, last: int, cancelled: frozenset[str]) -> Claim:
    """Answer a claim that was answered before, but only the last one as it was then."""
    is_paused = stopped_until(queue)[1]
    if last != want.first:
        return Claim(True, 0, 0, [], cancelled, is_paused)
    # The answer to a claim does not say who runs alone: that is for `claim_solo` to tell.
    again = [
        one._replace(delivery=one.delivery._replace(is_alone=False))
        for one in _replay(queue, want.holder, want.first, want.jobs)
    ]
    return Claim(True, 0, len(queue.lane("solo")), again, cancelled, is_paused)


def _replay(queue: Queue, holder: str, first: int, wanted: int) -> list[Taken]:
    """Return what that claim brought, up to the first job that is no longer held."""
    held = queue.held.get(holder, {})
    by_sequence = {delivery.sequence: job_id for job_id, delivery in held.items()}
    taken: list[Taken] = []
    for sequence in range(first, first + wanted):
        if sequence not in by_sequence:
            break
        job = queue.jobs[by_sequence[sequence]]
        taken.append(_describe(job, held[job.id]))
    return taken


def _promote(queue: Queue, state: JobState) -> int | None:
    """Let jobs that are due wait for a process; return when the next one is due."""
    due = [job_id for job_id in queue.ids_in(state) if queue.jobs[job_id].due <= queue.now]
    for job_id in due[:PROMOTED_AT_ONCE]:
        job = queue.jobs[job_id]
        if job.losses and not job.partition:
            job.state = JobState.QUEUED
            queue.lane(job.lane).append(job_id)
        else:
            # In an ordered partition it still has the turn: it goes before the others.
            queue.queue_up(job, is_first=queue.free_slot(job) is not None)
    left = queue.ids_in(state)
    return queue.jobs[left[0]].due if left else None


def _end_stops(queue: Queue) -> None:
    """Forget a pause and a rest of the queue that have ended."""
    control = queue.control
    if control.pause and control.pause[1] is not None and control.pause[1] <= queue.now:
        control.pause = None
    if control.rest is not None and control.rest <= queue.now:
        control.rest = None


def _end_rests(queue: Queue) -> None:
    """Let partitions be served again that have rested."""
    over = [key for key, until in queue.resting.items() if until <= queue.now]
    for key in sorted(over, key=lambda key: (queue.resting[key], key)):
        del queue.resting[key]
        queue.offer(key)


def _hold_back(queue: Queue, rules: Rules, room: Room, taken: int) -> int | None:
    """Where a limit left no room for more, see that somebody claims when there is; return when."""
    waiting = sum(len(queue.lane(name)) for name in ("suspects", "solo", *map(ready, LEVELS)))
    if room.jobs > taken or waiting + len(queue.ring) == 0:
        return None
    queue.is_held_back = queue.is_held_back or room.is_full
    queue.is_special = queue.is_special or room.is_full
    next_at = room.next_at or room_to_start(queue, rules).next_at
    return None if next_at is None or next_at < 0 else next_at


def _first_rest(queue: Queue) -> list[int]:
    return sorted(ceil(until) for until in queue.resting.values())[:1]


def _pass_token_on(queue: Queue, room: Room, taken: int, *, has_more: bool) -> None:
    """Wake another pool if there is more than this one could take, or let none be woken."""
    lost_first = sum(turn < BAND for turn in queue.ring.values())
    lost = len(queue.lane("suspects")) + lost_first
    others = sum(len(queue.lane(ready(level))) for level in LEVELS) + len(queue.ring) - lost_first
    is_stopped = room.jobs <= taken
    if not is_stopped and (others or (taken and lost) or has_more):
        queue.wake()
    elif not lost or is_stopped:
        queue.has_token = False


def _deliver(queue: Queue, holder: str, job: Job, delivery: Delivery) -> Taken:
    job.state = JobState.RUNNING
    queue.held.setdefault(holder, {})[job.id] = delivery
    return _describe(job, delivery)


def _describe(job: Job, delivery: Delivery) -> Taken:
    faults = job.faults or Faults()
    return Taken(job.id, job.published, job.is_chosen, job.envelope, faults, delivery)


def claim_solo(
    queue: Queue, holder: str, sequence: int, limits: str, *, is_empty: bool, turn: int
) -> Taken | bool:
    """Return a job, or whether the process has the turn."""
    if holder not in queue.leases:
        return False
    is_stopped = stopped_until(queue)[0] is not None
    if not is_empty:
        if not queue.lane("solo") or is_stopped:
            return False
        queue.turn = queue.turn or (holder, sequence, turn)
        return queue.turn[:2] == (holder, sequence)
    last = queue.calls.get(holder, Calls()).claim
    if last is not None and last >= sequence:
        again = [] if last > sequence else _replay(queue, holder, sequence, 1)
        return again[0] if again else False
    if not queue.lane("solo") or is_stopped:
        queue.end_turn(holder)
        return False
    rules = read_rules(queue, limits)
    is_full = rules.running is not None and queue.running() >= rules.running
    if is_full or allowance(queue, "", rules.rates)[0] == 0:
        # Whoever frees a place must not take it: it is kept for the job that runs alone.
        queue.turn = queue.turn or (holder, sequence, turn)
        return False
    queue.end_turn(holder)
    job = _next_solo(queue, rules)
    if job is None:
        queue.let_others_on()
        return False
    queue.calls_of(holder).claim = sequence
    return _deliver(queue, holder, job, Delivery(sequence, queue.now, is_alone=True))


def _next_solo(queue: Queue, rules: Rules) -> Job | None:
    """Take the first job that must run alone and may start; the others go behind."""
    lane = queue.lane("solo")
    for _ in range(min(len(lane), SOLO_LOOKED_AT)):
        job_id = lane.pop(0)
        if job_id in queue.ghosts:
            queue.ghosts.discard(job_id)
            continue
        job = queue.jobs[job_id]
        key = job.partition
        if key and allowance(queue, key, rules.partition_rates)[0] == 0:
            lane.append(job_id)
            continue
        note_starts(queue, "", rules.rates, [job])
        if key:
            note_starts(queue, key, rules.partition_rates, [job])
        return job
    return None
