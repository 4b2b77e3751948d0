"""A job as its publisher sees it: states, the record, and the typed handle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol

from typing_extensions import TypeVar

from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.schedules.ticks import tick_of
from redispatcher_fastapi.stopping import Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from redispatcher_fastapi.stopping import StopReason

R_co = TypeVar("R_co", covariant=True)


class JobState(StrEnum):
    """Where a job is in its life; ``docs/life-of-a-job.md`` draws every arrow."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing moves the job any more, except an operator who redrives it."""
        return self in {JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED}


class Priority(StrEnum):
    """Which jobs of a queue start first: all that are due and high, then normal, then low."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Disposition(StrEnum):
    """What became of a message that was published."""

    #: There is a new job for it.
    CREATED = "created"
    #: There was a job already, which was left as it was.
    EXISTING = "existing"
    #: The job that was there has this message now, and starts when it would have.
    REPLACED = "replaced"
    #: The job that was there has this message now, and starts when this one would have.
    DEBOUNCED = "debounced"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One ended attempt.

    ``outcome`` is ``failed``, ``lost`` with its process, ``cancelled`` (it raised something else
    after it was cancelled), or the reason why the job is dead since.
    """

    outcome: str
    started_at: datetime
    finished_at: datetime
    error: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What Redis knows of one job at one moment.

    ``body`` is the raw JSON of the message, ``None`` once a finished job's body was dropped;
    for an undecodable job it is everything that was stored.
    """

    id: str
    queue: str
    state: JobState
    attempts: int
    losses: int
    error: str | None
    reason: str | None
    body: bytes | None
    headers: Mapping[str, Any] | None
    published_at: datetime | None
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    history: tuple[Attempt, ...] = ()
    #: Of a job that is finished, and not dead, it is not known any more.
    priority: Priority = Priority.NORMAL
    #: The key of the partition it belongs to, see ``docs/limits.md``.
    partition: str | None = None
    #: By when it must have started; ``None`` once it has.
    expires_at: datetime | None = None
    #: It runs, and somebody has cancelled it.
    is_cancelling: bool = False
    #: Others follow it when it ends, see ``docs/flows.md``.
    is_followed: bool = False


class JobStore(Protocol):
    """What a handle needs from the engine."""

    async def job_state(self, queue: str, job_id: str) -> JobState | None: ...

    async def job_states(self, queue: str, job_ids: Sequence[str]) -> list[JobState | None]:
        """Return the states of several jobs of a queue."""
        ...

    async def job_record(self, queue: str, job_id: str) -> JobRecord | None: ...

    async def is_remembered(self, queue: str, job_id: str) -> bool:
        """Whether there was a job of which nothing is left but its chosen id."""
        ...

    async def cancel_job(self, queue: str, job_id: str) -> bool: ...

    async def forestall_job(self, queue: str, job_id: str) -> bool:
        """Cancel a job, also one that is still to come: it counts as cancelled then."""
        ...

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        """Return the encoded result (``None``: there is none), or raise as ``Job.result``.

        With ``may_come``, a job that is not there yet is waited for.
        """
        ...

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        """Wait until a job has succeeded and what follows it is there; or raise as ``Job.result``.

        ``False``: how it ended is not known any more.
        """
        ...


class Job(Generic[R_co]):
    """A handle on one published job; ``R`` is what ``process_message`` returns."""

    __slots__ = ("_read_result", "_store", "disposition", "id", "queue")

    def __init__(
        self,
        store: JobStore,
        read_result: Callable[[str, bytes | None], R_co],
        *,
        queue: str,
        id: str,  # the public attribute's name
        disposition: Disposition = Disposition.CREATED,
    ) -> None:
        self._store = store
        self._read_result = read_result
        self.queue = queue
        self.id = id
        #: What became of the message; unless it is ``CREATED``, ``id`` is that of the job which
        #: was there before.
        self.disposition = disposition

    @property
    def created(self) -> bool:
        """Whether there is a new job; ``False`` when one for this message existed already."""
        return self.disposition is Disposition.CREATED

    async def state(self) -> JobState | None:
        """Return the state now, or ``None`` when no record is left."""
        return await self._store.job_state(self.queue, self.id)

    async def info(self) -> JobRecord | None:
        """Return everything Redis knows of the job, or ``None`` when no record is left."""
        return await self._store.job_record(self.queue, self.id)

    async def cancel(self) -> bool:
        """Cancel the job; return whether this call did, or asked the process that runs it to.

        One that waits ends at once. A handler that runs is cancelled within a second and decides
        when it ends: then the job is cancelled, or has succeeded if it returned all the same. A
        thread is only asked, see ``JobContext.cancellation``. Calling again cancels the handler
        again. ``False`` means that the job is finished, or that nothing is known of it.
        """
        return await self._store.cancel_job(self.queue, self.id)

    async def result(self, timeout: timedelta | float | None = None) -> R_co:
        """Wait for the job to finish and return what ``process_message`` returned.

        ``timeout`` is a duration or seconds; ``None`` waits as long as it takes. While Redis
        cannot be reached, it goes on waiting.

        Raises:
            JobFailedError: the job is dead.
            JobCancelledError: the job was cancelled, or had expired before it started.
            JobExpiredError: neither the job nor its result is kept any more.
            TimeoutError: it did not finish in time; the job goes on.
            ResultDecodingError: the result is not of the type the consumer declares now.
        """
        wait = None if timeout is None else as_duration(timeout)
        stored = await self._store.wait_for_result(self.queue, self.id, wait)
        return self._read_result(self.id, stored)

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, queue={self.queue!r}, {self.disposition})"


def as_duration(timeout: Any) -> timedelta | None:
    """Return a timeout as a duration, and ``None`` where it is longer than any."""
    if isinstance(timeout, timedelta):
        return max(timeout, timedelta())
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not is_number or math.isnan(timeout):
        raise ConfigurationError(
            f"The timeout of a result is a timedelta or a number of seconds, not {timeout!r}."
        )
    try:
        return timedelta(seconds=max(timeout, 0))
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a run may know about itself; ask for it with a parameter of this type.

    ``attempt`` counts from 1 and leaves out attempts that were handed back, snoozed or lost.
    ``cancellation`` tells a thread, which cannot be cancelled, that it is to stop.
    """

    id: str
    queue: str
    attempt: int
    headers: Any
    published_at: datetime
    cancellation: Cancellation = field(default_factory=Cancellation, compare=False, repr=False)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why this run is to stop, as in ``except asyncio.CancelledError``; ``None``: it is not.

        It is ``None``, too, where the handler cancelled its own task.
        """
        return self.cancellation.reason

    @property
    def tick(self) -> datetime | None:
        """The time of its schedule that this job was made for, in UTC; ``None`` if for none."""
        return tick_of(self.id)
