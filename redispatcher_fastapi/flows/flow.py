"""The handle on several jobs that belong together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from redispatcher_fastapi.errors import JobExpiredError
from redispatcher_fastapi.job import JobState, as_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from redispatcher_fastapi.job import Job, JobStore

R_co = TypeVar("R_co", covariant=True)


class Flow(Generic[R_co]):
    """A chain or a group that was published; ``R`` is what its last job returns.

    The ids of all its jobs are known from the beginning, those still to come included.
    """

    __slots__ = ("_decode_result", "_first", "_store", "created", "id", "jobs")

    def __init__(
        self,
        store: JobStore,
        decode_result: Callable[[bytes | None], R_co],
        jobs: Sequence[Job[Any]],
        *,
        id: str,  # the public attribute's name
        waits_for: int,
        created: bool,
    ) -> None:
        """``waits_for``: from which job on each must succeed for the last one to run."""
        self._store = store
        self._decode_result = decode_result
        self._first = waits_for
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
        async with asyncio.timeout(None if wait is None else wait.total_seconds()):
            for job in self.jobs[self._first : -1]:
                try:
                    await self._store.wait_for_step(job.queue, job.id, None)
                except JobExpiredError:
                    continue  # it succeeded long ago
            last = self.jobs[-1]
            return self._decode_result(await self._store.wait_for_step(last.queue, last.id, None))

    async def state(self) -> JobState | None:
        """Return the state of the last job, or that of the one the flow has come to.

        ``None`` when no record of any is left.
        """
        states = [await job.state() for job in self.jobs]
        if states[-1] is not None:
            return states[-1]
        steps = states[self._first : -1] if self._first < len(states) - 1 else states[:-1]
        ended_badly = {JobState.DEAD, JobState.CANCELLED}
        for state in steps:
            if state in ended_badly and self._first < len(states) - 1:
                return state
        waiting = [state for state in steps if state is not None and not state.is_finished]
        if waiting:
            return JobState.RUNNING if JobState.RUNNING in waiting else waiting[0]
        return None if all(state is None for state in states) else JobState.QUEUED

    async def cancel(self) -> bool:
        """Cancel every job that is not finished; none that is still to come will run.

        Return whether there was one. A job that runs is asked to end, as by :meth:`Job.cancel`.
        """
        ended = [await self._store.forestall_job(job.queue, job.id) for job in reversed(self.jobs)]
        return any(ended)

    def __repr__(self) -> str:
        return f"Flow(id={self.id!r}, jobs={len(self.jobs)})"
