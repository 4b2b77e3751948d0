"""Every key in Redis: its name, its type, what it holds and how long it lives.

All keys of one queue share one hash tag, so that a queue lives in one slot of a cluster and
every script may reach all of them through the prefix it is given as its only key.

========================  ======  ==============================================================
``rd:{queue}:`` +         type    content and lifetime
========================  ======  ==============================================================
``jobs``                  hash    id -> record: live jobs, and finished ones while they are kept
``ready``                 list    ids to run next, first in first out
``suspects``              list    ids lost once or twice with a process; taken a few at a time
``solo``                  list    ids lost three times or more; run alone in an idle process
``scheduled``             zset    id -> due time (ms): not started yet, or snoozed
``retrying``              zset    id -> due time (ms): waiting for the next attempt
``held:<holder>``         hash    id -> delivery, of everything one process holds; goes with it
``calls:<holder>``        hash    last calls of one process, to answer repetitions; goes with it
``leases``                zset    holder -> end of its lease (ms); ``""`` -> last upkeep (ms)
``grace``                 string  time,leases,gap of when leases last began anew; expires in an hour
``faults``                hash    id -> error, loss and solo-loss counts; only jobs that have any
``history:<id>``          list    past attempts of one job; lives as long as the job's record
``succeeded``             list    ids in the order they finished, oldest first: the trim order
``cancelled``             list    the same for cancelled jobs
``dead``                  zset    id -> time of death (ms)
``remembered``            zset    caller-chosen id -> until when (ms) a repeat is recognised
``result:<id>``           string  encoded result; expires after the consumer's ``RESULT_TTL``
``ghosts``                set     ids taken out of a ready list's middle; forgotten when popped
``watched``               set     ids somebody waits for; expires a minute after the last wait
``wake``                  list    at most one token; whoever pops it claims
``poke:<holder>``         list    ends one process's waiting: ids of jobs that somebody cancels
``ready:high``            list    ids of high priority to run next; so it is for ``low``
``ready:low``             list    ids of low priority to run next
``levels``                hash    id -> ``high`` or ``low``; jobs that are not of normal priority
``partitions``            hash    id -> key of the partition it belongs to; only jobs that have one
``line:<level>:<key>``    list    ids of one partition and level to run next
``lines``                 zset    key of a partition -> how many ids its lines have
``ring``                  zset    key of a partition -> its turn; those that may be served
``slots``                 hash    id -> mark and key of the partition in which it occupies a slot
``used``                  hash    key of a partition -> how many of its slots are occupied
``resting``               zset    key of a partition -> until when (ms) nothing of it starts
``starts``                zset    id,time -> time (ms) of the last starts; only with a rate limit
``starts:<key>``          zset    the same of one partition
``control``               hash    ``paused``, ``limits`` and ``rest``: what an operator or a job set
``expiries``              zset    id -> by when (ms) it must have started
``uniques``               hash    key of a lock -> the one job that has it
``locks``                 hash    id -> scope and key of the lock it has
``windows``               zset    key of a lock -> until when (ms) it lasts; locks for a time
``cancelling``            set     ids of running jobs that are to be cancelled
``moved``                 set     level:id of entries in ready lists and lines that count no more
``special``               string  some job, or an operator, asks for more than jobs in turn
``held_back``             string  a limit holds jobs back: who ends one wakes; expires in a minute
``flows``                 hash    id -> what follows the job
``onward``                hash    id -> how a job ended of which something follows, to be passed on
``joins:<group>``         hash    number of a member -> how it ended; expires after 90 days
``turn``                  string  holder,sequence of who empties itself for a solo job; expires
``stats``                 hash    counters; permanent
``schedules``             hash    schedule id -> revision and definition; as long as it exists
``ticks``                 zset    schedule id -> next tick (ms); those not paused
``fired``                 hash    schedule id -> last tick and job, counts, whether it is paused
``declarations``          hash    version -> first and last seen (ms); ``""`` -> what is declared
========================  ======  ==============================================================

``rd:{queue}:finished`` is a pub/sub channel: the id of each watched job that finishes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import RedispatcherError

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_JOB_ID = re.compile(r"[A-Za-z0-9:._-]{1,128}")
_JOB_IDS = re.compile(rf"(?:{_JOB_ID.pattern}\n)*")


class InvalidNameError(RedispatcherError, ValueError):
    """Raised when a queue name or a job id has characters or a length that are not allowed."""


def check_queue_name(name: str) -> str:
    """Return ``name`` if it can name a queue; braces would move its keys to another slot."""
    if not _QUEUE.fullmatch(name):
        raise InvalidNameError(
            f"{name!r:.200} cannot name a queue: use 1 to 64 letters, digits, '.', '_' or '-', "
            "and begin with a letter or digit."
        )
    return name


def is_job_id(job_id: str) -> bool:
    """Whether ``job_id`` can identify a job."""
    return _JOB_ID.fullmatch(job_id) is not None


def are_job_ids(ids: Sequence[str]) -> bool:
    """Whether each of ``ids`` can identify a job; in less than half the time of asking for each."""
    text = "\n".join([*ids, ""])
    return _JOB_IDS.fullmatch(text) is not None and text.count("\n") == len(ids)


def check_job_id(job_id: str) -> str:
    """Return ``job_id`` if it can identify a job."""
    if not is_job_id(job_id):
        raise InvalidNameError(
            f"{job_id!r:.200} cannot identify a job: use 1 to 128 letters, digits, "
            "':', '.', '_' or '-'."
        )
    return job_id


def queue_prefix(queue: str) -> str:
    """Return what all keys of one queue begin with."""
    return f"rd:{{{queue}}}:"


def wake_key(queue: str) -> str:
    """Return the list that idle pools block on."""
    return f"{queue_prefix(queue)}wake"


def stats_key(queue: str) -> str:
    """Return the hash of a queue's counters."""
    return f"{queue_prefix(queue)}stats"


def poke_key(queue: str, holder: str) -> str:
    """Return the list with which a process interrupts its own waiting."""
    return f"{queue_prefix(queue)}poke:{holder}"


def finished_channel(queue: str) -> str:
    """Return the channel that announces watched jobs as they finish."""
    return f"{queue_prefix(queue)}finished"
