"""Ends of deliveries in the model: done, failed, or given back, by whoever still has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Ending, Faults
from tests.model.queue import Queue


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
