"""Looks into queues and moves single jobs; what every tool around the library is built on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.controls import Queue, QueueControls, name_of
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.job import JobState, Priority
from redispatcher_fastapi.keys import check_job_id

if TYPE_CHECKING:
    from redispatcher_fastapi.job import JobRecord

MAX_LIMIT = 200
_CURSOR = re.compile(r"[0-9]{1,12}")
_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs of one state; ``next_cursor`` is ``None`` after the last page."""

    jobs: list[JobRecord]
    next_cursor: str | None


class Inspector(QueueControls):
    """Every method makes one or two round trips, whatever the length of the queue.

    A queue is given by its name, or by the consumer that takes it.

    All raise ``BrokerError`` when Redis gives no answer, and ``InvalidNameError`` for what cannot
    be the name of a queue or the id of a job.
    """

    async def counts(self, queue: Queue) -> dict[JobState, int]:
        """Return how many jobs are in each state; of finished ones, those still kept."""
        return await self._store.count_jobs(name_of(queue))

    async def jobs(
        self, queue: Queue, state: JobState | str, *, limit: int = 50, cursor: str | None = None
    ) -> JobPage:
        """Return a page: waiting jobs in the order they will run, finished ones newest first.

        ``limit`` is at most 200. Jobs that move while pages are read can be missed or seen twice.
        """
        try:
            state = JobState(state)
        except ValueError:
            raise ConfigurationError(
                f"{state!r} is not a state of jobs; these are: {', '.join(JobState)}."
            ) from None
        if not 1 <= limit <= MAX_LIMIT:
            raise ConfigurationError(f"A page holds 1 to {MAX_LIMIT} jobs, not {limit}.")
        offset = _read_cursor(cursor)
        queue = name_of(queue)
        ids = await self._store.list_jobs(queue, state, offset=offset, limit=limit)
        records = await self._store.job_records(queue, ids)
        jobs = [record for record in records if record is not None and record.state is state]
        return JobPage(jobs, str(offset + limit) if len(ids) == limit else None)

    async def job(self, queue: Queue, id: str) -> JobRecord | None:  # the public attribute's name
        """Return everything Redis knows of a job, or ``None``."""
        return await self._store.job_record(name_of(queue), check_job_id(id))

    async def cancel(self, queue: Queue, id: str) -> bool:
        """Cancel a job, as ``Job.cancel`` does; return whether it did, or asked who runs it to."""
        return await self._store.cancel_job(name_of(queue), check_job_id(id))

    async def redrive(self, queue: Queue, id: str) -> bool:
        """Queue a dead job again, counts reset and history kept; return whether it was dead."""
        return await self._store.redrive_job(name_of(queue), check_job_id(id))

    async def set_priority(self, queue: Queue, id: str, priority: Priority) -> bool:
        """Give a job that waits another priority; it goes behind all others that have it.

        Returns whether the job waits and has that priority now: ``False`` for one that runs, is
        finished or is unknown.
        """
        try:
            checked = Priority(priority)
        except ValueError:
            raise ConfigurationError(
                f"{priority!r:.80} is no priority; these are: {', '.join(Priority)}."
            ) from None
        return await self._store.set_priority(name_of(queue), check_job_id(id), checked)

    async def delete(self, queue: Queue, id: str) -> bool:
        """Remove every trace of a job; return ``False`` when it is running or unknown."""
        return await self._store.delete_job(name_of(queue), check_job_id(id))


def _read_cursor(cursor: Any) -> int:
    """Return how many jobs to pass over: more digits than Redis counts exactly mean nothing."""
    if cursor is None:
        return 0
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
        shown = repr(cursor)
        shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
        raise ConfigurationError(f"{shown} is not a cursor: pass the next_cursor of a page.")
    return int(cursor)
