"""What Redis must hold if the model is right: the table of `docs/life-of-a-job.md`."""

from __future__ import annotations

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls, Control, Job
from tests.model.queue import Queue
from tests.model.store import Dump, Entry, Record

WATCHED_TTL = 60_000
GRACE_TTL = 3_600_000
HELD_BACK_TTL = 60_000
_LETTERS = {JobState.SUCCEEDED: "S", JobState.CANCELLED: "C", JobState.DEAD: "D"}
#: Tests take less of real time than this; times to live are compared as closely.
_TOLERANCE = 30_000


def project(queue: Queue) -> Dump:
    """Return every key of a queue with its content."""
    leases = dict(queue.leases)
    if queue.last_look is not None:
        leases[""] = queue.last_look
    faults = {job.id: job.faults for job in queue.jobs.values() if job.faults is not None}
    dump: Dump = {
        "jobs": Entry({job.id: _record(job) for job in queue.jobs.values()}),
        **{lane: Entry(ids) for lane, ids in queue.lanes.items()},
        "scheduled": Entry(_dues(queue, JobState.SCHEDULED)),
        "retrying": Entry(_dues(queue, JobState.RETRYING)),
        "dead": Entry(_dues(queue, JobState.DEAD)),
        "leases": Entry(leases),
        "faults": Entry({job_id: ",".join(map(str, had)) for job_id, had in faults.items()}),
        "succeeded": Entry(queue.finished[JobState.SUCCEEDED]),
        "cancelled": Entry(queue.finished[JobState.CANCELLED]),
        "remembered": Entry(queue.remembered),
        "ghosts": Entry(queue.ghosts),
        "cancelling": Entry(queue.cancelling),
        "watched": Entry(queue.watched, WATCHED_TTL),
        "wake": Entry(["1"] if queue.has_token else []),
        "grace": Entry(queue.grace.encode(), GRACE_TTL),
        "special": Entry(b"1" if queue.is_special else b""),
        "held_back": Entry(b"1" if queue.is_held_back else b"", HELD_BACK_TTL),
        "moved": Entry(queue.moved),
        "lines": Entry({key: queue.waiting_in(key) for key in queue.by_waiting()}),
        "ring": Entry(queue.ring),
        "resting": Entry(queue.resting),
        "used": Entry({key: str(count) for key, count in queue.used().items()}),
        "control": Entry(_control(queue.control)),
        "uniques": Entry(queue.uniques),
        "windows": Entry(queue.windows),
        "onward": Entry(queue.onward),
        **_traits(queue),
        "stats": Entry({name: str(count) for name, count in queue.stats.items() if count}),
    }
    for holder, held in queue.held.items():
        dump[f"held:{holder}"] = Entry({one: delivery.token for one, delivery in held.items()})
    for holder, calls in queue.calls.items():
        dump[f"calls:{holder}"] = Entry(_calls(calls), calls.ttl)
    for job_id, history in queue.histories.items():
        dump[f"history:{job_id}"] = Entry(history.lines, history.ttl)
    for job_id, (result, ttl) in queue.results.items():
        dump[f"result:{job_id}"] = Entry(result, ttl)
    for name, (pushed, ttl) in queue.pokes.items():
        dump[f"poke:{name}"] = Entry(pushed, ttl)
    for partition, (starts, ttl) in queue.starts.items():
        dump[f"starts:{partition}" if partition else "starts"] = Entry(starts, ttl)
    for group, (members, ttl) in queue.joins.items():
        dump[f"joins:{group}"] = Entry(members, ttl)
    if queue.turn is not None:
        holder, sequence, ttl = queue.turn
        dump["turn"] = Entry(f"{holder},{sequence}".encode(), ttl)
    return {key: entry for key, entry in dump.items() if entry.content}


def find_differences(expected: Dump, found: Dump) -> list[str]:
    """Return one line per key that is not as expected."""
    return [
        f"{key}: expected {expected.get(key)}, found {found.get(key)}"
        for key in sorted(expected.keys() | found.keys())
        if not _agree(expected.get(key), found.get(key))
    ]


def _agree(expected: Entry | None, found: Entry | None) -> bool:
    if expected is None or found is None or expected.content != found.content:
        return False
    if expected.ttl is None or found.ttl is None:
        return expected.ttl is found.ttl
    return expected.ttl - _TOLERANCE < found.ttl <= expected.ttl


def _traits(queue: Queue) -> dict[str, Entry]:
    """Return what jobs asked for that are not finished, or that are dead and may be redriven."""
    jobs = [job for job in queue.jobs.values() if job.ending is None or job.state is JobState.DEAD]
    return {
        "levels": Entry({job.id: job.level for job in jobs if job.level != "normal"}),
        "partitions": Entry({job.id: job.partition for job in jobs if job.partition}),
        "slots": Entry({job.id: f"{job.slot}{job.partition}" for job in jobs if job.slot}),
        "expiries": Entry({job.id: job.expires for job in jobs if job.expires is not None}),
        "locks": Entry({job.id: f"{job.lock.scope}{job.lock.key}" for job in jobs if job.lock}),
        "flows": Entry({job.id: job.follows for job in jobs if job.follows is not None}),
    }


def _control(control: Control) -> dict[str, str]:
    fields: dict[str, str] = {}
    if control.pause is not None:
        since, until, reason = control.pause
        fields["paused"] = f"{since},{'' if until is None else until},{reason}"
    if control.limits is not None:
        fields["limits"] = control.limits
    if control.rest is not None:
        fields["rest"] = str(control.rest)
    return fields


def _dues(queue: Queue, state: JobState) -> dict[str, int]:
    jobs = (queue.jobs[job_id] for job_id in queue.ids_in(state))
    return {job.id: job.ending.at if job.ending else job.due for job in jobs}


def _record(job: Job) -> Record:
    if job.ending is None:
        return Record(job.published, job.is_chosen, job.envelope)
    letter = _LETTERS[job.state]
    if job.state is JobState.DEAD:
        return Record(job.published, job.is_chosen, job.envelope, letter, job.ending)
    return Record(None, job.is_chosen, None, letter, job.ending)


def _calls(calls: Calls) -> dict[str, str]:
    fields: dict[str, str] = {}
    if calls.claim is not None:
        fields["claim"] = str(calls.claim)
    for operation, (request, text) in calls.answers.items():
        fields |= {operation: request, f"{operation}:answer": text}
    if calls.is_given_up:
        fields["given_up"] = "1"
    return fields
