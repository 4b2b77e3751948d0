"""What was published, as a test sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from redispatcher_fastapi.testing.memory import complete

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from redispatcher_fastapi.broker.store import Store
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.job import JobRecord, JobState, Priority
    from redispatcher_fastapi.sealing import Sealing
    from redispatcher_fastapi.testing.memory import Publication

M_co = TypeVar("M_co", covariant=True)


class PublishedJob(Generic[M_co]):
    """One job that was published; ``message`` and ``headers`` are as its consumer will get them."""

    __slots__ = (
        "_store",
        "due_at",
        "expires_at",
        "headers",
        "id",
        "is_unique",
        "message",
        "priority",
        "published_at",
        "queue",
    )

    def __init__(
        self,
        publication: Publication,
        definition: ConsumerDefinition,
        store: Store,
        sealing: Sealing | None,
    ) -> None:
        raw = publication.envelope
        if sealing is not None:
            raw = sealing.open_message(raw, queue=publication.queue, job_id=publication.job_id)
        envelope = definition.decoder.decode(raw)
        self.id: str = publication.job_id
        self.queue: str = publication.queue
        message: Any = envelope.message
        self.message: M_co = message
        self.headers: Any = envelope.headers
        self.published_at: datetime = publication.published_at
        #: When it was to start, as it was published.
        self.due_at: datetime = publication.due_at
        self.priority: Priority = publication.priority
        #: By when it had to start; ``None`` for never.
        self.expires_at: datetime | None = publication.expires_at
        #: Whether it keeps messages that are the same from having a job of their own.
        self.is_unique: bool = publication.is_unique
        self._store = store

    @property
    def delay(self) -> timedelta:
        """How long after its publication it was to start; zero for at once."""
        return self.due_at - self.published_at

    @property
    def expires(self) -> timedelta | None:
        """How long after its publication it had to start; ``None`` for ever."""
        return None if self.expires_at is None else self.expires_at - self.published_at

    @property
    def state(self) -> JobState | None:
        """The state now, or ``None`` when no record is left."""
        return complete(self._store.job_state(self.queue, self.id))

    @property
    def record(self) -> JobRecord | None:
        """All that is known of the job now: attempts, errors, times."""
        return complete(self._store.job_record(self.queue, self.id))

    def __repr__(self) -> str:
        when = f", delay={self.delay}" if self.delay else ""
        return f"PublishedJob(id={self.id!r}, queue={self.queue!r}, message={self.message!r}{when})"
