"""The handle on several jobs that belong together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from redispatcher_fastapi.job import JobState, as_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from redispatcher_fastapi.job import Job, JobStore

R_co = TypeVar("R_co", covariant=True)

_ASKED_AT_ONCE = 500
_CANCELLED_AT_ONCE = 50


class Flow(Generic[R_co]):
    """A chain or a group that was published; ``R`` is what its last job returns.

    The ids of all its jobs are known from the beginning, those still to come included.
    """

    __slots__ = ("_decode_result", "_is_group", "_store", "created", "id", "jobs")

    def __init__(
        self,
        store: JobStore,
        decode_result: Callable[[bytes | None], R_co],
        jobs: Sequence[Job[Any]],
        *,
        id: str,  # the public attribute's name
        is_group: bool,
        created: bool,
    ) -> None:
        """Of a group, all ``jobs`` but the last run beside each other."""
        self._store = store
        self._decode_result = decode_result
        self._is_group = is_group
        self.id = id
        #: ``False`` when a flow with this id was published before; it was left as it was.
        self.created = created
        #: In the order in which they run; the members of a group come before what follows it.
        self.jobs = tuple(jobs)

    async def result(self, timeout: timedelta | float | None = None) -> R_co:
        """Wait for the last job and return what it returned.

        ``timeout`` is a duration or seconds; ``None`` waits as long as it takes.

        Raises:
            JobFailedError: a job is dead without which the last one never runs.
            JobCancelledError: such a job was cancelled, or has expired.
            JobExpiredError: the result of the last one is not kept any more.
            TimeoutError: the last one did not finish in time; the jobs go on.
            ResultDecodingError: the result is not of the type that its consumer declares now.
        """
        wait = None if timeout is None else as_duration(timeout)
        last, store = self.jobs[-1], self._store
        async with asyncio.timeout(None if wait is None else wait.total_seconds()):
            if self._is_group:
                may_come = any(await self._states_before())
            else:
                # The first is there, or was. Each further one may come if the one before is known
                # to have succeeded; if that is forgotten, it came long ago.
                may_come = False
                for job in self.jobs[:-1]:
                    may_come = await store.wait_for_step(job.queue, job.id, may_come=may_come)
            stored = await store.wait_for_result(last.queue, last.id, None, may_come=may_come)
        return self._decode_result(stored)

    async def state(self) -> JobState | None:
        """Return the state of the last job or, before it is there, of the one it waits for.

        Of several it is ``RUNNING`` if one runs. Where all have succeeded, the last one is about to
        be ``QUEUED``. ``None`` when no record of it is left.
        """
        last = self.jobs[-1]
        state = await last.state()
        if state is not None:
            return state
        known = [each for each in await self._states_before() if each is not None]
        if not self._is_group:
            known = known[-1:]
            if known and known[0] is not JobState.SUCCEEDED:
                return known[0]
        waiting = [each for each in known if not each.is_finished]
        if waiting:
            return JobState.RUNNING if JobState.RUNNING in waiting else waiting[0]
        if not known or await self._store.is_remembered(last.queue, last.id):
            return None
        return JobState.QUEUED

    async def cancel(self) -> bool:
        """Cancel every job that is not finished; none that is still to come will run.

        Return whether there was one. A job that runs is asked to end, as by :meth:`Job.cancel`.
        """
        # Backwards: nothing can be published of which the end was not forestalled before.
        published = len(self.jobs) - 1 if self._is_group else 1
        ended = [
            await self._store.forestall_job(job.queue, job.id)
            for job in reversed(self.jobs[published:])
        ]
        for start in range(0, published, _CANCELLED_AT_ONCE):
            some = self.jobs[start : min(start + _CANCELLED_AT_ONCE, published)]
            ended += await asyncio.gather(*(job.cancel() for job in some))
        return any(ended)

    async def _states_before(self) -> list[JobState | None]:
        """Return the states of all jobs but the last."""
        jobs = self.jobs[:-1]
        if not self._is_group:
            return list(await asyncio.gather(*(job.state() for job in jobs)))
        states: list[JobState | None] = []
        for start in range(0, len(jobs), _ASKED_AT_ONCE):
            ids = [job.id for job in jobs[start : start + _ASKED_AT_ONCE]]
            states += await self._store.job_states(jobs[0].queue, ids)
        return states

    def __repr__(self) -> str:
        return f"Flow(id={self.id!r}, jobs={len(self.jobs)})"
