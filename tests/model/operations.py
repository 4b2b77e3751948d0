"""What operators and onlookers do in the model."""

from __future__ import annotations

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Faults, Job
from tests.model.lines import LEVELS, line, ready
from tests.model.queue import Queue

COUNTED = (
    JobState.SCHEDULED,
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.RETRYING,
    JobState.SUCCEEDED,
    JobState.DEAD,
    JobState.CANCELLED,
)
POKE_TTL = 10_000


def cancel(queue: Queue, job_id: str, *, is_to_come: bool = False) -> int:
    """Cancel a job, or one that may be published later: whoever does finds it cancelled."""
    job = queue.jobs.get(job_id)
    if job is None:
        if not is_to_come or queue.remembered.get(job_id, 0) > queue.now:
            return -1
        job = queue.jobs[job_id] = Job(job_id, queue.now, b"", is_chosen=True)
        queue.end_cancelled(job, queue.now, 0, 0)
        return 1
    if job.state.is_finished:
        return 0
    if holder := queue.holder_of(job_id):
        queue.is_special = True
        queue.cancelling.add(job_id)
        pushed, _ = queue.pokes.get(holder, ([], 0))
        queue.pokes[holder] = ([*pushed, job_id], POKE_TTL)
        return 2
    queue.take_out(job)
    faults = job.faults or Faults()
    queue.end_cancelled(job, queue.now, faults.errors, faults.losses)
    return 1


def redrive(queue: Queue, job_id: str) -> int:
    job = queue.jobs.get(job_id)
    if job is None:
        return -1
    if job.state is not JobState.DEAD:
        return 0
    job.ending, job.faults = None, Faults()
    if job_id in queue.histories:
        queue.histories[job_id].ttl = None
    queue.queue_up(job)
    queue.stats["redriven"] += 1
    queue.wake()
    return 1


def delete(queue: Queue, job_id: str) -> int:
    job = queue.jobs.get(job_id)
    if job is None:
        return -1
    if job.state is JobState.RUNNING:
        return 0
    if job.state in queue.finished:
        queue.finished[job.state].remove(job_id)
    queue.take_out(job)
    if not job.state.is_finished:
        queue.pass_on(job, "C", "deleted")
    queue.let_go(job, is_undone=True)
    del queue.jobs[job_id]
    queue.remembered.pop(job_id, None)
    queue.histories.pop(job_id, None)
    queue.results.pop(job_id, None)
    queue.stats["deleted"] += 1
    return 1


def counts(queue: Queue) -> list[int]:
    states = [job.state for job in queue.jobs.values()]
    return [states.count(state) for state in COUNTED]


def list_ids(queue: Queue, state: JobState, skip: int, count: int) -> list[str]:
    match state:
        case JobState.QUEUED:
            return _list_queued(queue, skip, count)
        case JobState.RUNNING:
            by_lease = sorted(queue.held, key=lambda holder: (queue.leases[holder], holder))
            ids = [job_id for holder in by_lease for job_id in queue.held[holder]]
        case JobState.SUCCEEDED | JobState.CANCELLED:
            ids = queue.finished[state][::-1]
        case JobState.DEAD:
            ids = queue.ids_in(state)[::-1]
        case _:
            ids = queue.ids_in(state)
    return ids[skip : skip + count]


def _list_queued(queue: Queue, skip: int, count: int) -> list[str]:
    """List those that were lost, then level after level, with the longest line first, then solo."""
    kept = [each for each in queue.jobs.values() if not each.ending or each.state is JobState.DEAD]
    levels = LEVELS if any(each.level != "normal" for each in kept) else ("normal",)
    names = [("suspects", "")]
    for level in LEVELS:
        names.append((ready(level), level))
        if level not in levels:
            continue  # no job can be in their lines
        names += [(line(level, key), level) for key in queue.by_waiting()]
    names.append(("solo", ""))
    ids: list[str] = []
    passed: set[str] = set()
    for name, level in names:
        entries = queue.lane(name)
        for job_id in entries[skip:]:
            entry = f"{level}:{job_id}"
            if len(ids) == count:
                break
            if entry in queue.moved and entry not in passed:
                passed.add(entry)
            else:
                ids.append(job_id)
        skip = max(0, skip - len(entries))
    return ids


def watch(
    queue: Queue, job_id: str, *, is_to_come: bool = False, is_followed: bool = False
) -> list[str | bytes]:
    job = queue.jobs.get(job_id)
    if _is_awaited(queue, job_id, job, is_to_come=is_to_come, is_followed=is_followed):
        queue.watched.add(job_id)
        return ["waiting"]
    if job is not None and job.ending is not None:
        if job.state is JobState.CANCELLED:
            return ["cancelled", job.ending.reason or ""]
        if job.state is JobState.DEAD:
            lines = queue.histories[job_id].lines if job_id in queue.histories else [""]
            return ["dead", job.ending.reason or "", lines[-1]]
        if is_followed or not job.ending.has_result:
            return ["succeeded"]
    if job_id in queue.results and not is_followed:
        return ["succeeded", queue.results[job_id][0]]
    return ["expired"]


def _is_awaited(
    queue: Queue, job_id: str, job: Job | None, *, is_to_come: bool, is_followed: bool
) -> bool:
    if job is not None:
        return job.ending is None
    if job_id in queue.joins or (is_followed and job_id in queue.onward):
        return True
    is_unknown = queue.remembered.get(job_id, 0) <= queue.now
    return is_to_come and is_unknown and (is_followed or job_id not in queue.results)
