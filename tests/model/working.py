"""What pools do, in the model: claim, settle, give back, renew, depart, look after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls, Delivery, Ending, Faults, Job
from tests.model.queue import CALLS_TTL, Queue

PROMOTED_AT_ONCE, TAKEN_AT_ONCE, ROUNDS = 500, 16, 10
FORGOTTEN_AT_ONCE, IDS_AT_ONCE = 100, 1000
MOST_LOSSES, MOST_SOLO_LOSSES = 9, 2


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
    """The answer to one claim for one queue; ``wait`` is -1 where nothing waits for a time."""

    has_lease: bool
    wait: int
    solo: int
    taken: list[Taken]


class Settled(NamedTuple):
    """How one delivery ended: ``done``, ``retry``, ``snooze`` or ``dead``; times in milliseconds.

    ``run`` and ``wait`` are what the process says; ``result`` is for those that are done.
    """

    id: str
    token: str
    action: str = "done"
    delay: int = 0
    reason: str = ""
    error: str = ""
    run: int = 0
    wait: int = 0
    is_chosen: bool = False
    result: bytes | None = None


def claim(
    queue: Queue, holder: str, wanted: int, suspects: int, first: int, budget: Budget
) -> Claim:
    if holder not in queue.leases:
        return Claim(False, -1, 0, [])
    last = queue.calls.get(holder, Calls()).claim
    if last is not None and last >= first:
        if last != first:
            return Claim(True, 0, 0, [])
        # The answer to a claim does not say who runs alone: that is for `claim_solo` to tell.
        again = [
            one._replace(delivery=one.delivery._replace(is_alone=False))
            for one in _replay(queue, holder, first, wanted)
        ]
        return Claim(True, 0, len(queue.lanes["solo"]), again)

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
    return Claim(True, wait, len(queue.lanes["solo"]), taken)


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
    for _ in range(100):
        if not queue.lanes["solo"]:
            return False
        job_id = queue.lanes["solo"].pop(0)
        if job_id not in queue.ghosts:
            queue.calls_of(holder).claim = sequence
            delivery = Delivery(sequence, queue.now, is_alone=True)
            return _deliver(queue, holder, queue.jobs[job_id], delivery)
        queue.ghosts.discard(job_id)
    return False


def _verdict(queue: Queue, holder: str, job_id: str, token: str) -> str:
    delivery = queue.held.get(holder, {}).get(job_id)
    if delivery is not None and delivery.token == token:
        return "1"
    return "s" if job_id in queue.jobs else "g"


def acknowledge(
    queue: Queue, holder: str, request: str, settled: Sequence[Settled], result_ttl: int
) -> str:
    before = queue.remembered_answer(holder, "ack", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    owned = [one for one, verdict in zip(settled, verdicts, strict=True) if verdict == "1"]
    queue.stats["stale"] += len(settled) - len(owned)
    for one in owned:
        _succeed(queue, holder, one, result_ttl)
    if owned and len(queue.finished[JobState.SUCCEEDED]) > queue.limits.finished_count:
        queue.trim(JobState.SUCCEEDED, 2 * len(owned) + 8)
    return queue.answer(holder, "ack", request, "".join(verdicts))


def _succeed(queue: Queue, holder: str, one: Settled, result_ttl: int) -> None:
    job = queue.jobs[one.id]
    queue.drop_delivery(holder, job.id)
    if job.faults:
        queue.let_history_expire(job.id, queue.limits.finished_age)
    faults = job.faults or Faults()
    has_result = one.result is not None
    job.ending = Ending(
        queue.now, one.run, one.wait, faults.errors + 1, faults.losses, has_result=has_result
    )
    job.state, job.faults = JobState.SUCCEEDED, None
    queue.finished[JobState.SUCCEEDED].append(job.id)
    if one.result is not None:
        queue.results[job.id] = (one.result, result_ttl)
    queue.announce(job.id)
    queue.stats["succeeded"] += 1


def fail(queue: Queue, holder: str, request: str, settled: Sequence[Settled]) -> str:
    before = queue.remembered_answer(holder, "fail", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    for one, verdict in zip(settled, verdicts, strict=True):
        if verdict == "1":
            _fail(queue, holder, one)
        else:
            queue.stats["stale"] += 1
    return queue.answer(holder, "fail", request, "".join(verdicts))


def _fail(queue: Queue, holder: str, one: Settled) -> None:
    job = queue.jobs[one.id]
    started = queue.drop_delivery(holder, job.id).started
    if one.error:
        queue.add_attempt(job.id, started, one.error)
    match one.action:
        case "snooze":
            queue.put_off(job, JobState.SCHEDULED, queue.now + one.delay)
            queue.stats["snoozed"] += 1
        case "retry":
            queue.charge(job, errors=1)
            queue.put_off(job, JobState.RETRYING, queue.now + one.delay)
            queue.stats["retried"] += 1
        case _:
            errors, losses, _ = queue.charge(job, errors=1)
            queue.bury(job, started, errors, losses, one.reason)


def release(queue: Queue, holder: str, request: str, settled: Sequence[Settled]) -> str:
    before = queue.remembered_answer(holder, "release", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    owned = [one for one, verdict in zip(settled, verdicts, strict=True) if verdict == "1"]
    queue.stats["stale"] += len(settled) - len(owned)
    for one in reversed(owned):
        queue.drop_delivery(holder, one.id)
        job = queue.jobs[one.id]
        job.state = JobState.QUEUED
        queue.lanes[job.lane].insert(0, job.id)
    if owned:
        queue.stats["released"] += len(owned)
        queue.wake()
    return queue.answer(holder, "release", request, "".join(verdicts))


class Renewed(NamedTuple):
    """How many jobs the process holds, -1 if it was given up; ``grace`` as of upkeep."""

    held: int
    grace: list[int]


def renew(queue: Queue, holder: str) -> Renewed:
    grace = queue.look()
    if queue.calls.get(holder, Calls()).is_given_up:
        return Renewed(-1, grace)
    if holder not in queue.leases and holder in queue.calls:
        queue.calls[holder].ttl = None
    queue.leases[holder] = queue.now + queue.limits.lease
    return Renewed(len(queue.held.get(holder, {})), grace)


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

    ``grace`` says how many leases began anew, and how long nobody had looked, if any did.
    """

    next_end: int
    taken_back: list[tuple[str, int, str]]
    has_more: bool
    grace: list[int]


def keep_up(queue: Queue) -> Upkeep:
    grace = queue.look()
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
    ends = [max(0, end - queue.now) for end in queue.leases.values()]
    return Upkeep(min(ends, default=-1), taken_back, has_more, grace)


def _take_back(queue: Queue, holder: str) -> list[tuple[str, int, str]]:
    report: list[tuple[str, int, str]] = []
    del queue.leases[holder]
    for job_id, delivery in queue.held.pop(holder, {}).items():
        job = queue.jobs[job_id]
        faults = queue.charge(job, losses=1, solo_losses=int(delivery.is_alone))
        queue.add_attempt(job_id, delivery.started, '{"outcome":"lost"}')
        is_dead = faults.losses >= MOST_LOSSES or faults.solo_losses >= MOST_SOLO_LOSSES
        place = "dead" if is_dead else job.lane
        if is_dead:
            queue.bury(job, delivery.started, faults.errors, faults.losses, "worker_lost")
        else:
            job.state = JobState.QUEUED
            queue.lanes[place].append(job_id)
        report.append((job_id, faults.losses, place))
    calls = queue.calls_of(holder)
    calls.is_given_up = True
    calls.ttl = max(20 * queue.limits.lease, CALLS_TTL)
    if report:
        queue.stats["lost"] += len(report)
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
        queue.histories.pop(job.id, None)
    return len(old) == FORGOTTEN_AT_ONCE


def _forget_ids(queue: Queue, latest: int | None, count: int) -> bool:
    budget = max(0, min(count, IDS_AT_ONCE))
    oldest = sorted(queue.remembered, key=lambda job_id: (queue.remembered[job_id], job_id))
    due = [one for one in oldest if latest is None or queue.remembered[one] <= latest]
    for job_id in due[:budget]:
        del queue.remembered[job_id]
    return budget > 0 and len(due[:budget]) == IDS_AT_ONCE
