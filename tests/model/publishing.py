"""Publishing in the model: what becomes of a message, also of one that is not to be there twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Job, Lock
from tests.model.queue import Queue


class Message(NamedTuple):
    """One message to publish; ``due`` and ``expiry`` are '', ``d<ms>`` or ``a<ms>``.

    ``unique`` is '', or the scope of its lock and what becomes of the job that has it, such as
    ``d:k``.
    """

    id: str
    envelope: bytes
    due: str = ""
    is_chosen: bool = False
    level: str = ""
    partition: str = ""
    expiry: str = ""
    unique: str = ""
    lock_key: str = ""
    follows: str = ""

    @property
    def has_traits(self) -> bool:
        """Whether it asks for more than to run in turn."""
        return any(self[4:])


class Published(NamedTuple):
    """A letter per message, and the jobs that are there instead of those that are not unique."""

    letters: str
    others: list[str]


def publish(queue: Queue, messages: Sequence[Message], needed: int | None) -> Published:
    room = queue.limits.queue_length - queue.waiting()
    if needed is not None:
        needed -= sum(message.id in queue.jobs for message in messages)
        if needed > room:
            return Published("f" * len(messages), [])
    letters: list[str] = []
    others: list[str] = []
    for message in messages:
        letter, other = _add(queue, message, room)
        room -= letter == "1"
        letters.append(letter)
        others += [other] if other else []
    return Published("".join(letters), others)


def _add(queue: Queue, message: Message, room: int) -> tuple[str, str]:
    """Return what became of a message, and the job that is there instead, if there is one."""
    is_remembered = message.is_chosen and queue.remembered.get(message.id, 0) > queue.now
    if message.id in queue.jobs or is_remembered:
        return "0", ""
    if message.unique and (other := _owner_of(queue, message.lock_key)):
        return _meet(queue, other, message), other
    if room <= 0:
        return "f", ""
    _put(queue, message)
    return "1", ""


def _owner_of(queue: Queue, key: str) -> str | None:
    """Return the job that has a lock, unless its time is over without anybody having noticed."""
    owner = queue.uniques.get(key)
    if owner is None or queue.windows.get(key, queue.now + 1) <= queue.now:
        return None
    job = queue.jobs.get(owner)
    if job is None or job.expires is None or job.expires > queue.now:
        return owner
    queue.take_out(job)
    queue.expire(job)
    return None


def _meet(queue: Queue, other: str, message: Message) -> str:
    """Do what is asked for where a message is not unique; only a job that waits can be changed."""
    action = message.unique[-1]
    if action == "x":
        return "x"
    job = queue.jobs.get(other)
    if action == "k" or job is None or job.state.is_finished or job.state is JobState.RUNNING:
        return "u"
    job.envelope = message.envelope
    if job.expires is not None:
        job.expires = _time(queue, message.expiry) if message.expiry else None
    if action == "r" or job.faults is not None:
        # One that failed keeps the time of its next attempt.
        return "r"
    due = _time(queue, message.due)
    if job.state is JobState.SCHEDULED or due > queue.now:
        if job.state is JobState.QUEUED:
            queue.void_entry(job)
        job.state = JobState.QUEUED
        queue.put_off(job, JobState.SCHEDULED, max(due, queue.now))
    return "p"


def _time(queue: Queue, text: str) -> int:
    return queue.now if not text else int(text[1:]) + (queue.now if text[0] == "d" else 0)


def _put(queue: Queue, message: Message) -> None:
    job = Job(message.id, queue.now, message.envelope, message.is_chosen)
    asks = (message.level, message.partition, message.expiry, message.unique, message.follows)
    queue.is_special = queue.is_special or any(asks)
    job.level, job.partition = message.level or "normal", message.partition or None
    job.expires = _time(queue, message.expiry) if message.expiry else None
    job.follows = message.follows or None
    if message.is_chosen:
        queue.results.pop(job.id, None)
        queue.histories.pop(job.id, None)
    queue.forget_places(job.id)
    if message.unique:
        _lock(queue, job, message)
    due = _time(queue, message.due)
    if due > queue.now:
        queue.put_off(job, JobState.SCHEDULED, due)
    else:
        queue.queue_up(job)
        queue.wake()
    queue.jobs[job.id] = job
    queue.stats["published"] += 1


def _lock(queue: Queue, job: Job, message: Message) -> None:
    scope, key = message.unique[0], message.lock_key
    job.lock = Lock(scope, key)
    queue.uniques[key] = job.id
    queue.windows.pop(key, None)
    if scope == "t":
        queue.windows[key] = queue.now + int(message.unique[1:-2])
