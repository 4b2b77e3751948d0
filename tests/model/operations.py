"""Publishing in the model, and what operators and onlookers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Faults, Job
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


class Message(NamedTuple):
    """One message to publish; ``due`` is '', ``d<ms>`` or ``a<ms>``."""

    id: str
    envelope: bytes
    due: str = ""
    is_chosen: bool = False


def publish(queue: Queue, messages: Sequence[Message], needed: int | None) -> str:
    room = queue.limits.queue_length - queue.waiting()
    if needed is not None:
        needed -= sum(message.id in queue.jobs for message in messages)
        if needed > room:
            return "f" * len(messages)
    answers: list[str] = []
    for message in messages:
        is_remembered = message.is_chosen and queue.remembered.get(message.id, 0) > queue.now
        if message.id in queue.jobs or is_remembered:
            answers.append("0")
        elif room <= 0:
            answers.append("f")
        else:
            answers.append("1")
            room -= 1
            _put(queue, message)
    return "".join(answers)


def _put(queue: Queue, message: Message) -> None:
    job = Job(message.id, queue.now, message.envelope, message.is_chosen)
    if message.is_chosen:
        queue.results.pop(job.id, None)
        queue.histories.pop(job.id, None)
    if job.id in queue.ghosts:
        queue.ghosts.discard(job.id)
        for lane in queue.lanes.values():
            if job.id in lane:
                lane.remove(job.id)
    due = int(message.due[1:]) if message.due else 0
    if message.due.startswith("d"):
        due += queue.now
    if due > queue.now:
        queue.put_off(job, JobState.SCHEDULED, due)
    else:
        queue.lanes["ready"].append(job.id)
        queue.wake()
    queue.jobs[job.id] = job
    queue.stats["published"] += 1


def cancel(queue: Queue, job_id: str) -> int:
    job = queue.jobs.get(job_id)
    if job is None:
        return -1
    if job.state.is_finished:
        return 0
    if holder := queue.holder_of(job_id):
        queue.cancelling.add(job_id)
        pushed, _ = queue.pokes.get(holder, ([], 0))
        queue.pokes[holder] = ([*pushed, job_id], POKE_TTL)
        return 2
    if job.state is JobState.QUEUED:
        queue.ghosts.add(job_id)
    faults = job.faults or Faults()
    queue.end_cancelled(job, queue.now, faults.errors, faults.losses)
    return 1


def redrive(queue: Queue, job_id: str) -> int:
    job = queue.jobs.get(job_id)
    if job is None:
        return -1
    if job.state is not JobState.DEAD:
        return 0
    job.state, job.ending, job.faults = JobState.QUEUED, None, Faults()
    if job_id in queue.histories:
        queue.histories[job_id].ttl = None
    queue.lanes["ready"].append(job_id)
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
    if job.state is JobState.QUEUED:
        queue.ghosts.add(job_id)
    del queue.jobs[job_id]
    queue.remembered.pop(job_id, None)
    queue.histories.pop(job_id, None)
    queue.results.pop(job_id, None)
    queue.stats["deleted"] += 1
    queue.announce(job_id)
    return 1


def counts(queue: Queue) -> list[int]:
    states = [job.state for job in queue.jobs.values()]
    return [states.count(state) for state in COUNTED]


def list_ids(queue: Queue, state: JobState, skip: int, count: int) -> list[str]:
    match state:
        case JobState.QUEUED:
            ids = [*queue.lanes["suspects"], *queue.lanes["ready"], *queue.lanes["solo"]]
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


def watch(queue: Queue, job_id: str) -> list[str | bytes]:
    job = queue.jobs.get(job_id)
    if job is not None and job.ending is None:
        queue.watched.add(job_id)
        return ["waiting"]
    if job is not None and job.ending is not None:
        if job.state is JobState.CANCELLED:
            return ["cancelled", job.ending.reason or ""]
        if job.state is JobState.DEAD:
            lines = queue.histories[job_id].lines if job_id in queue.histories else [""]
            return ["dead", job.ending.reason or "", lines[-1]]
        if not job.ending.has_result:
            return ["succeeded"]
    if job_id in queue.results:
        return ["succeeded", queue.results[job_id][0]]
    return ["expired"]
