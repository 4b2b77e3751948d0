"""Claims in the model: what a process gets, in which order, and what it gets alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls, Delivery, Faults, Job
from tests.model.queue import Queue

PROMOTED_AT_ONCE, TAKEN_AT_ONCE, ROUNDS, SOLO_GHOSTS_AT_ONCE = 500, 16, 10, 100


@dataclass
class Budget:
    """What one claim may take from all its queues together."""

    jobs: int = 500
    bytes: int = 1_048_576


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


def claim(
    queue: Queue, holder: str, wanted: int, suspects: int, first: int, budget: Budget
) -> Claim:
    if holder not in queue.leases:
        return Claim(False, -1, 0, [])
    last = queue.calls.get(holder, Calls()).claim
    cancelled = frozenset(queue.cancelling & queue.held.get(holder, {}).keys())
    if last is not None and last >= first:
        if last != first:
            return Claim(True, 0, 0, [], cancelled)
        # The answer to a claim does not say who runs alone: that is for `claim_solo` to tell.
        again = [
            one._replace(delivery=one.delivery._replace(is_alone=False))
            for one in _replay(queue, holder, first, wanted)
        ]
        return Claim(True, 0, len(queue.lanes["solo"]), again, cancelled)

    dues = [
        due
        for state in (JobState.SCHEDULED, JobState.RETRYING)
        if (due := _promote(queue, state)) is not None
    ]
    wait = max(0, min(dues) - queue.now) if dues else -1

    wanted = min(wanted, budget.jobs)
    jobs = _take(queue, "suspects", min(suspects, wanted), budget)
    jobs += _take(queue, "ready", wanted - len(jobs), budget)
    budget.jobs -= len(jobs)
    taken: list[Taken] = []
    for sequence, job in enumerate(jobs, start=first):
        taken.append(_deliver(queue, holder, job, Delivery(sequence, queue.now)))
    if jobs:
        queue.calls_of(holder).claim = first
    if queue.lanes["ready"] or (jobs and queue.lanes["suspects"]):
        queue.wake()
    elif not queue.lanes["suspects"]:
        queue.has_token = False
    return Claim(True, wait, len(queue.lanes["solo"]), taken, cancelled)


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
        job.state = JobState.QUEUED
        queue.lanes[job.lane].append(job_id)
    left = queue.ids_in(state)
    return queue.jobs[left[0]].due if left else None


def _take(queue: Queue, lane: str, wanted: int, budget: Budget) -> list[Job]:
    """Take jobs off a lane and pass over ghosts, of which a call looks only at so many."""
    found: list[Job] = []
    ids = queue.lanes[lane]
    for _ in range(int(wanted / TAKEN_AT_ONCE + ROUNDS)):
        batch = min(wanted - len(found), TAKEN_AT_ONCE)
        if batch <= 0 or budget.bytes <= 0:
            break
        for job_id in ids[:batch]:
            if job_id in queue.ghosts:
                queue.ghosts.discard(job_id)
            else:
                job = queue.jobs[job_id]
                budget.bytes -= 13 + job.is_chosen + len(job.envelope)
                found.append(job)
        del ids[:batch]
    return found


def _deliver(queue: Queue, holder: str, job: Job, delivery: Delivery) -> Taken:
    job.state = JobState.RUNNING
    queue.held.setdefault(holder, {})[job.id] = delivery
    return _describe(job, delivery)


def _describe(job: Job, delivery: Delivery) -> Taken:
    faults = job.faults or Faults()
    return Taken(job.id, job.published, job.is_chosen, job.envelope, faults, delivery)


def claim_solo(
    queue: Queue, holder: str, sequence: int, *, is_empty: bool, turn: int
) -> Taken | bool:
    """Return a job, or whether the process has the turn."""
    if holder not in queue.leases:
        return False
    if not is_empty:
        if queue.lanes["solo"] and queue.turn is None:
            queue.turn = (holder, sequence, turn)
        has_turn = queue.turn is not None and queue.turn[:2] == (holder, sequence)
        return bool(queue.lanes["solo"]) and has_turn
    last = queue.calls.get(holder, Calls()).claim
    if last is not None and last >= sequence:
        again = [] if last > sequence else _replay(queue, holder, sequence, 1)
        return again[0] if again else False
    queue.end_turn(holder)
    for _ in range(SOLO_GHOSTS_AT_ONCE):
        if not queue.lanes["solo"]:
            return False
        job_id = queue.lanes["solo"].pop(0)
        if job_id not in queue.ghosts:
            queue.calls_of(holder).claim = sequence
            delivery = Delivery(sequence, queue.now, is_alone=True)
            return _deliver(queue, holder, queue.jobs[job_id], delivery)
        queue.ghosts.discard(job_id)
    return False
