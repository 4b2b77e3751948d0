"""Ends of deliveries in the model: done, failed, or given back, by whoever still has them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Ending, Job
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


def _with_followers(
    queue: Queue, settled: Sequence[Settled], verdicts: list[str], done: str
) -> list[str]:
    """Tell whoever ended a job that something follows it."""
    return [
        "n" if verdict == done and queue.jobs[one.id].follows is not None else verdict
        for one, verdict in zip(settled, verdicts, strict=True)
    ]


def acknowledge(
    queue: Queue, holder: str, request: str, settled: Sequence[Settled], result_ttl: int
) -> str:
    before = queue.remembered_answer(holder, "ack", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    owned = [one for one, verdict in zip(settled, verdicts, strict=True) if verdict == "1"]
    queue.stats["stale"] += len(settled) - len(owned)
    verdicts = _with_followers(queue, settled, verdicts, "1")
    for one in owned:
        _succeed(queue, holder, one, result_ttl)
    if owned:
        queue.let_others_on()
    if owned and len(queue.finished[JobState.SUCCEEDED]) > queue.limits.finished_count:
        queue.trim(JobState.SUCCEEDED, 2 * len(owned) + 8)
    return queue.answer(holder, "ack", request, "".join(verdicts))


def _succeed(queue: Queue, holder: str, one: Settled, result_ttl: int) -> None:
    job = queue.jobs[one.id]
    queue.drop_delivery(holder, job.id)
    attempts, losses, _ = queue.charge(job, errors=1) if job.faults else (1, 0, 0)
    ending = Ending(queue.now, one.run, one.wait, attempts, losses)
    if one.result is not None:
        queue.results[job.id] = (one.result, result_ttl)
        ending.has_result = True
    queue.succeed(job, ending, (one.result or b"").decode())


def fail(queue: Queue, holder: str, request: str, settled: Sequence[Settled]) -> str:
    before = queue.remembered_answer(holder, "fail", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    for at, one in enumerate(settled):
        if verdicts[at] == "1":
            verdicts[at] = _fail(queue, holder, one)
        else:
            queue.stats["stale"] += 1
    if set(verdicts) & set("1cn"):
        queue.let_others_on()
    return queue.answer(holder, "fail", request, "".join(verdicts))


def _fail(queue: Queue, holder: str, one: Settled) -> str:
    job = queue.jobs[one.id]
    is_cancelling = job.id in queue.cancelling
    action = "cancel" if is_cancelling and one.action != "dead" else one.action
    has_followers = job.follows is not None
    started = queue.drop_delivery(holder, job.id).started
    if one.error:
        queue.add_attempt(job.id, started, one.error)
    match action:
        case "snooze":
            queue.put_off(job, JobState.SCHEDULED, queue.now + one.delay)
            queue.leave_slot(job)
            queue.stats["snoozed"] += 1
        case "retry":
            queue.charge(job, errors=1)
            queue.put_off(job, JobState.RETRYING, queue.now + one.delay)
            queue.leave_slot(job)
            queue.stats["retried"] += 1
        case "limited":
            queue.is_special = True
            _rest(queue, job, one)
            queue.free_slot(job)
            queue.queue_again(job)
            queue.wake()
            queue.stats["limited"] += 1
        case "cancel":
            errors, losses, _ = queue.charge(job, errors=1)
            queue.end_cancelled(job, started, errors, losses)
        case _:
            errors, losses, _ = queue.charge(job, errors=1)
            queue.bury(job, started, errors, losses, one.reason)
    if job.state.is_finished and has_followers:
        return "n"
    return "1" if action == one.action else "c"


def _rest(queue: Queue, job: Job, one: Settled) -> None:
    """Let nothing of the job's partition start for a while, or nothing of the queue."""
    until = queue.now + one.delay
    if job.partition and one.reason != "queue":
        # The half, before the end, marks what a job asked for: new limits do not end it.
        rests = queue.resting.get(job.partition, 0)
        if rests == int(rests):
            rests = 0
        queue.resting[job.partition] = ceil(max(rests, until)) - 0.5
    else:
        queue.control.rest = max(queue.control.rest or 0, until)


def release(queue: Queue, holder: str, request: str, settled: Sequence[Settled]) -> str:
    before = queue.remembered_answer(holder, "release", request)
    if before is not None:
        return before
    verdicts = [_verdict(queue, holder, one.id, one.token) for one in settled]
    owned = [one for one, verdict in zip(settled, verdicts, strict=True) if verdict == "1"]
    verdicts = [
        "c" if verdict == "1" and one.id in queue.cancelling else verdict
        for one, verdict in zip(settled, verdicts, strict=True)
    ]
    queue.stats["stale"] += len(settled) - len(owned)
    for one in reversed(owned):
        _release(queue, queue.jobs[one.id], queue.drop_delivery(holder, one.id).started)
    if owned:
        queue.wake()
    return queue.answer(holder, "release", request, "".join(verdicts))


def _release(queue: Queue, job: Job, started: int) -> None:
    if job.id in queue.cancelling:
        errors, losses, _ = queue.charge(job, errors=1)
        queue.end_cancelled(job, started, errors, losses)
    else:
        queue.free_slot(job)
        queue.queue_again(job)
        queue.stats["released"] += 1
