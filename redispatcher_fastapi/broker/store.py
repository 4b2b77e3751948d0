"""Looks jobs up, and moves single ones on request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.ids import read_id, write_id
from redispatcher_fastapi.broker.publishing import write_time
from redispatcher_fastapi.broker.queue_records import NO_OVERRIDE, parse_queue, parse_waiting
from redispatcher_fastapi.broker.records import parse_record
from redispatcher_fastapi.broker.scripts import (
    CANCEL,
    COUNTS,
    DELETE,
    LIST,
    PAUSE,
    QUEUE,
    RECORD,
    REDRIVE,
    SET_LIMITS,
    SET_PRIORITY,
    WHY,
    as_text,
)
from redispatcher_fastapi.broker.waiting import ResultWaiter
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.job import JobRecord, JobState, JobStore
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient, Script
    from redispatcher_fastapi.clock import Clock
    from redispatcher_fastapi.job import Priority
    from redispatcher_fastapi.queues import QueueRecord, Waiting

_COUNTED = (
    JobState.SCHEDULED,
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.RETRYING,
    JobState.SUCCEEDED,
    JobState.DEAD,
    JobState.CANCELLED,
)


class Store(JobStore):
    """One queue's jobs by id and by state, through any redis-py client.

    Every method raises the ``BrokerError`` tree when Redis gives no answer.
    """

    def __init__(
        self,
        client: CommandClient,
        clock: Clock,
        *,
        finished_max_age: timedelta = timedelta(hours=1),
    ) -> None:
        self._client = client
        self._clock = clock
        self._finished_max_age = to_milliseconds(finished_max_age)
        self._waiter = ResultWaiter(client, clock)

    async def job_state(self, queue: str, job_id: str) -> JobState | None:
        """Return the state of a job, or ``None`` when no record is left."""
        return (await self.job_states(queue, [job_id]))[0]

    async def job_states(self, queue: str, job_ids: Sequence[str]) -> list[JobState | None]:
        """Return the states of several jobs as they are at one moment."""
        replies = await self._run(RECORD, queue, "", *map(write_id, job_ids))
        return [JobState(as_text(reply[0])) if reply and reply[0] else None for reply in replies]

    async def is_remembered(self, queue: str, job_id: str) -> bool:
        """Whether nothing is left of a job but the memory of its chosen id."""
        reply = (await self._run(RECORD, queue, "", write_id(job_id)))[0]
        return bool(reply) and not reply[0]

    async def job_record(self, queue: str, job_id: str) -> JobRecord | None:
        """Return a job with its history, or ``None`` when no record is left."""
        return (await self.job_records(queue, [job_id]))[0]

    async def job_records(self, queue: str, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return several jobs as they are at one moment."""
        if not job_ids:
            return []
        replies = await self._run(RECORD, queue, "1", *map(write_id, job_ids))
        return [
            parse_record(queue, job_id, reply) if reply else None
            for job_id, reply in zip(job_ids, replies, strict=True)
        ]

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        """Return the encoded result once the job succeeded; raises as :meth:`Job.result` does."""
        return await self._waiter.wait(queue, job_id, timeout, may_come=may_come)

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        """Return once a job succeeded that others follow; raises as :meth:`Job.result` does."""
        return await self._waiter.wait_for_step(queue, job_id, may_come=may_come)

    async def cancel_job(self, queue: str, job_id: str) -> bool:
        """Cancel a job; return whether this call ended it, or asked the process that runs it to."""
        return await self._run(CANCEL, queue, write_id(job_id), self._finished_max_age) in (1, 2)

    async def forestall_job(self, queue: str, job_id: str) -> bool:
        """Do the same, also with a job that is still to come: it is then cancelled beforehand."""
        arguments = (write_id(job_id), self._finished_max_age, "1")
        return await self._run(CANCEL, queue, *arguments) in (1, 2)

    async def redrive_job(self, queue: str, job_id: str) -> bool:
        """Queue a dead job again with its counts reset; return whether this call moved it."""
        return bool(await self._run(REDRIVE, queue, job_id) == 1)

    async def set_priority(self, queue: str, job_id: str, priority: Priority) -> bool:
        """Give a job that waits another priority; return whether it has that one now."""
        return bool(await self._run(SET_PRIORITY, queue, job_id, priority.value) == 1)

    async def delete_job(self, queue: str, job_id: str) -> bool:
        """Remove every trace of a job that is not running; return whether this call removed it."""
        return bool(await self._run(DELETE, queue, job_id) == 1)

    async def count_jobs(self, queue: str) -> dict[JobState, int]:
        """Return how many jobs are in each state; of finished ones, those still kept."""
        reply = await self._run(COUNTS, queue)
        return dict(zip(_COUNTED, (int(count) for count in reply), strict=True))

    async def list_jobs(self, queue: str, state: JobState, *, offset: int, limit: int) -> list[str]:
        """Return ids: waiting jobs in the order they will run, finished ones newest first."""
        reply = await self._run(LIST, queue, state.value, offset, limit)
        return [read_id(job_id) for job_id in reply]

    def now(self) -> datetime:
        """Return the time of this store, by the clock of this process if it is that of Redis."""
        return self._clock.now() or datetime.now(UTC)

    async def queue_record(self, queue: str, partitions: int) -> QueueRecord:
        """Return what holds a queue back, and some of its partitions."""
        return parse_queue(queue, await self._run(QUEUE, queue, partitions))

    async def why(self, queue: str, job_id: str, limits: str) -> Waiting | None:
        """Return why a job does not run, or ``None`` when it is unknown."""
        return parse_waiting(queue, job_id, await self._run(WHY, queue, job_id, limits))

    async def pause_queue(
        self, queue: str, until: datetime | timedelta | None, reason: str
    ) -> None:
        """Let nothing of a queue start; ``None`` is until it is resumed."""
        ends = "" if until is None else write_time(until)
        await self._run(PAUSE, queue, ends, reason)

    async def resume_queue(self, queue: str) -> bool:
        """Let a queue go on; return whether it was paused."""
        return bool(await self._run(PAUSE, queue, "-", "") == 1)

    async def set_queue_limits(self, queue: str, limits: str | None) -> None:
        """Set the limits of all pools, or for ``None`` let them have those of their code."""
        await self._run(SET_LIMITS, queue, NO_OVERRIDE if limits is None else limits)

    async def _run(self, script: Script, queue: str, *arguments: Argument) -> Any:
        now = self._clock.now()
        time = "" if now is None else to_milliseconds(now)
        return await script.run(self._client, [queue_prefix(queue)], [time, *arguments])
