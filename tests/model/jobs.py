"""What the model knows of a job, a delivery, a process: `docs/life-of-a-job.md` in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from redispatcher_fastapi.job import JobState


class Limits(NamedTuple):
    """The settings of one queue; every time is in milliseconds."""

    queue_length: int = 5
    lease: int = 40_000
    finished_count: int = 2
    finished_age: int = 120_000
    finished_min_age: int = 10_000
    id_memory: int = 400_000
    dead_count: int = 2
    dead_age: int = 300_000


class Faults(NamedTuple):
    """How often a job was tried in vain, was lost with its process, and was lost while alone."""

    errors: int = 0
    losses: int = 0
    solo_losses: int = 0


@dataclass
class Ending:
    """How a job finished; ``run`` and ``wait`` are milliseconds."""

    at: int
    run: int
    wait: int
    attempts: int
    losses: int
    reason: str | None = None
    has_result: bool = False


class Lock(NamedTuple):
    """What makes a job the only one: until it starts (``w``), is done (``d``), or for a time."""

    scope: str
    key: str


@dataclass
class Job:
    """One job with a record; ``due`` counts only while it waits for a time.

    ``level``, ``partition`` and ``follows`` stay with a dead job, which may be redriven; the rest
    of what a message asks for is over when its job is finished.
    """

    id: str
    published: int
    envelope: bytes
    is_chosen: bool
    state: JobState = JobState.QUEUED
    due: int = 0
    faults: Faults | None = None
    ending: Ending | None = None
    level: str = "normal"
    partition: str | None = None
    #: By when it must have started.
    expires: int | None = None
    lock: Lock | None = None
    #: Whether it occupies a slot of its partition, and with which mark: ``o`` keeps the order.
    slot: str | None = None
    #: What is to be done when it ends.
    follows: str | None = None

    @property
    def losses(self) -> int:
        return self.faults.losses if self.faults else 0

    @property
    def lane(self) -> str:
        """The list in which it waits when it can run, apart from levels and partitions."""
        if self.losses == 0:
            return "ready"
        return "suspects" if self.losses < 3 else "solo"


class Delivery(NamedTuple):
    """One job in the hands of one process."""

    sequence: int
    started: int
    is_alone: bool = False

    @property
    def token(self) -> str:
        return f"{self.sequence},{self.started:013d}{'*' if self.is_alone else ''}"


@dataclass
class Control:
    """What operators, and jobs that met a limit elsewhere, have set for a whole queue."""

    #: Since when it is paused, until when if that is known, and why.
    pause: tuple[int, int | None, str] | None = None
    #: Limits that hold in place of those of the code.
    limits: str | None = None
    #: Until when nothing starts.
    rest: int | None = None


@dataclass
class Calls:
    """What the engine remembers of the last calls of one process; ``ttl`` in milliseconds."""

    claim: int | None = None
    answers: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    is_given_up: bool = False
    ttl: int | None = None


@dataclass
class History:
    """Past attempts of one job, the oldest first; ``ttl`` in milliseconds."""

    lines: list[str] = field(default_factory=list[str])
    ttl: int | None = None
