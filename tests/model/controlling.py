"""What operators set in the model: pauses, limits and levels; and what follows jobs."""

from __future__ import annotations

from redispatcher_fastapi.job import JobState
from tests.model.queue import Queue


def pause(queue: Queue, ends: str, reason: str) -> int:
    """Pause a queue, without an end where ``ends`` is empty; ``-`` resumes it."""
    queue.wake()
    if ends == "-":
        was_paused = queue.control.pause is not None
        queue.control.pause = None
        return int(was_paused)
    queue.is_special = True
    until = int(ends[1:]) + (queue.now if ends[0] == "d" else 0) if ends else None
    queue.control.pause = (queue.now, until, reason)
    return 1


def set_limits(queue: Queue, limits: str) -> int:
    """Set limits for all pools, ``-`` for those of their code; what they allow is to be seen."""
    queue.is_special = queue.is_special or limits != "-"
    queue.control.limits = None if limits == "-" else limits
    for key, until in queue.resting.items():
        if until > queue.now and until == int(until):
            queue.resting[key] = queue.now
    for key in sorted(queue.used()):
        queue.offer(key)
    queue.is_held_back = False
    queue.wake()
    return 1


def set_priority(queue: Queue, job_id: str, level: str) -> int:
    job = queue.jobs.get(job_id)
    if job is None:
        return -1
    if job.state.is_finished or job.state is JobState.RUNNING:
        return 0
    if job.level == level:
        return 1
    queue.is_special = True
    # One that was lost waits elsewhere, and will have the level when it is queued again.
    is_moved = job.state is JobState.QUEUED and job.losses == 0
    if is_moved:
        queue.void_entry(job)
    job.level = level
    if is_moved:
        queue.queue_up(job)
        queue.wake()
    return 1


def list_onward(queue: Queue, passed_on: list[tuple[str, str]]) -> dict[str, str]:
    """Return the ends of jobs that are to be passed on, without those that were."""
    for job_id, text in passed_on:
        if queue.onward.get(job_id) == text:
            del queue.onward[job_id]
    return dict(queue.onward)


def arrive(
    queue: Queue, group: str, number: int, count: int, end: str, *, is_hasty: bool, ttl: int
) -> dict[str, str]:
    """Return how all members of a group ended to the last that was needed, and else nothing."""
    if group in queue.jobs or queue.remembered.get(group, 0) > queue.now:
        queue.joins.pop(group, None)
        return {}
    ends, _ = queue.joins.get(group, ({}, 0))
    member = str(number)
    ends.setdefault(member, end)
    queue.joins[group] = (ends, ttl)
    has_failed = not ends[member].startswith("S")
    if "last" not in ends and (len(ends) >= count or (is_hasty and has_failed)):
        ends["last"] = member
    if ends.get("last") != member:
        return {}
    return {name: text for name, text in ends.items() if name != "last"}
