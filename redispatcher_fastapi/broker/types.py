"""What goes into the engine and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta  # pydantic reads the fields of a Submission
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from redispatcher_fastapi.clock import from_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Future

    from redispatcher_fastapi.job import JobStore
    from redispatcher_fastapi.stopping import StopSignal


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits and times the scripts are given."""

    lease: timedelta = timedelta(seconds=30)
    publish_timeout: timedelta = timedelta(seconds=5)
    max_queue_length: int = 1_000_000
    finished_max_age: timedelta = timedelta(hours=1)
    finished_max_count: int = 10_000
    dead_max_age: timedelta = timedelta(days=30)
    dead_max_count: int = 10_000
    chosen_id_memory: timedelta = timedelta(hours=24)
    confirmed_replicas: int = 0


@dataclass(frozen=True, slots=True)
class Traits:
    """What a message asks for besides running in its turn, as ``lua/adding.lua`` takes it.

    ``lock`` is ``<scope>:<action>``; ``expiry`` a time, or a duration from now.
    """

    level: str = ""
    partition: str = ""
    expiry: datetime | timedelta | None = None
    lock: str = ""
    lock_key: str = ""
    continuation: str | bytes = ""


@dataclass(slots=True)
class Submission:
    """One message on its way into a queue; at most one of ``delay`` and ``at`` is set."""

    job_id: str
    envelope: bytes
    delay: timedelta | None = None
    at: datetime | None = None
    is_chosen_id: bool = False
    traits: Traits | None = None


class Answer(NamedTuple):
    """What became of a submission: a letter of ``publish.lua``, and the job there in its stead."""

    letter: str
    other: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether there is a new job; so is the answer true or false by itself."""
        return self.letter == "1"

    def __bool__(self) -> bool:
        return self.letter == "1"


CREATED = Answer("1")
KNOWN = Answer("0")
#: The letter for a message that is not unique, and whose publisher wanted an error.
REFUSED = "x"


@dataclass(frozen=True, slots=True)
class Want:
    """How much a process can take from one queue.

    Deliveries get the sequence numbers from ``first_sequence`` on; asking again with the same
    number brings the same jobs. At most ``suspects`` of the ``count`` jobs were lost with a process
    before.
    """

    queue: str
    holder: str
    count: int
    first_sequence: int
    suspects: int = 1
    #: The limits that the code of this process sets, as ``lua/limits.lua`` reads them.
    limits: str = ""


@dataclass(slots=True)
class Delivery:
    """One job in the hands of one process; ``holder`` and ``token`` fence it off.

    ``published_ms`` is ``None`` where what Redis holds is no record; ``started_ms`` is when it was
    claimed.
    """

    queue: str
    job_id: str
    holder: str
    sequence: int
    token: str
    envelope: bytes
    published_ms: int | None
    is_chosen_id: bool = False
    attempt: int = 1
    losses: int = 0
    started_ms: int = 0
    #: How long the handler ran, in seconds; known when it has ended.
    ran_for: float = 0.0
    #: How its run is asked to stop; there is none where nobody could look at it.
    stop: StopSignal | None = None

    @property
    def published_at(self) -> datetime | None:
        return None if self.published_ms is None else from_milliseconds(self.published_ms)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned; ``result`` is what it returned, encoded, or ``None``."""

    result: bytes | None = None
    result_ttl: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AttemptError:
    """What went wrong, bounded in size and free of payload values."""

    text: str
    traceback: str | None = None
    exception: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Retried:
    """The attempt failed and is charged; the job runs again after ``delay``."""

    delay: timedelta
    error: AttemptError


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler asked to run again after ``delay``, without being charged."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Died:
    """The job will not run again by itself.

    ``reason`` is one of ``failed`` (no attempts left), ``rejected``, ``message_too_large``,
    ``bad_signature``, ``undecryptable``, ``undecodable``, ``unknown_version``, ``invalid_message``,
    ``result_not_serializable``, ``result_too_large``, ``worker_lost``.
    """

    reason: str
    error: AttemptError | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """The process gives the job back, first in line and without any charge."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody cancelled the job, and its handler ended; perhaps by raising something else."""

    error: AttemptError | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """The handler ran into somebody else's limit: the job waits in line again, uncharged.

    Nothing of its partition starts for ``delay``, or of its queue.
    """

    delay: timedelta
    is_queue: bool = False


#: How a run ended that is settled by ``fail.lua``.
Unsuccessful = Retried | Snoozed | Died | Cancelled | Limited
Outcome = Succeeded | Released | Unsuccessful


@dataclass(slots=True)
class Claimed:
    """What a claim brought.

    ``wait`` is how long nothing falls due, ``None`` when nothing waits for a time. ``unleased`` are
    the queues on which the process must renew before it can claim; ``has_solo`` those with jobs
    that must run alone.
    """

    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    wait: timedelta | None = None
    unleased: set[str] = field(default_factory=set[str])
    #: Jobs this process runs and somebody cancelled: queue and id.
    cancelled: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    has_solo: set[str] = field(default_factory=set[str])
    #: Queues of which nothing starts until somebody, or the time, resumes them.
    paused: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A job that was taken from a lost process; queued again, or dead after too many losses.

    ``is_isolated``: it runs only in a process that runs nothing else.
    """

    queue: str
    job_id: str
    losses: int
    is_dead: bool
    is_isolated: bool = False
    #: Somebody had cancelled it while it ran.
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Grace:
    """Leases that began anew, since for more than half a lease nobody could have renewed them.

    ``gap`` is how long nobody looked at them by the clock of Redis: less than nothing when that was
    set back.
    """

    queue: str
    holders: int
    gap: timedelta


@dataclass(frozen=True, slots=True)
class GraceNote:
    """What Redis keeps of the last grace of a queue, for each pool to tell of it once.

    No two graces of a queue have the same ``mark``; ``age`` is how long ago it was.
    """

    grace: Grace
    mark: bytes
    age: timedelta


@dataclass(slots=True)
class KeptUp:
    """What looking after queues brought.

    ``next_end`` is how long the first lease to end lasts, ``None`` when there is none; with
    ``has_more``, there may be more to forget than one call does. ``graces`` has the last one of
    each queue for an hour, whoever let the leases begin anew.
    """

    next_end: timedelta | None = None
    taken: list[TakenBack] = field(default_factory=list[TakenBack])
    has_more: bool = False
    graces: list[GraceNote] = field(default_factory=list[GraceNote])
    #: Queues of which ends of jobs are to be passed on to what follows.
    onward: set[str] = field(default_factory=set[str])


class MessageSender(Protocol):
    """Puts messages into queues; both methods answer what became of each."""

    @property
    def store(self) -> JobStore: ...

    async def send(self, queue: str, submission: Submission) -> Answer: ...

    async def send_many(self, queue: str, submissions: Sequence[Submission]) -> list[Answer]: ...


class BackgroundSender(MessageSender, Protocol):
    """Does so as well for who cannot wait for it, as after the commit of a transaction."""

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Future[bool]:
        """Begin in the sender's event loop, from any thread, what must not raise.

        The future is done when the work is, ``False`` where it could not begin any more.
        """
        ...
