"""What a batch consumer works with: how its batches are made up, and the items in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from redispatcher_fastapi.backoff import Reject, Retry, Snooze
from redispatcher_fastapi.errors import BatchEndedError, ConfigurationError

if TYPE_CHECKING:
    from redispatcher_fastapi.job import JobContext

MessageT_co = TypeVar("MessageT_co", covariant=True)
ResultT_contra = TypeVar("ResultT_contra", contravariant=True, default=None)

_MAX_SIZE = 1000
_MAX_LINGER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Batch:
    """How many messages a batch has at most, and how long it waits to have as many.

    It runs as soon as it has ``size`` messages, or ``linger`` after the first one came. Without
    any ``linger`` it is made of what is there at once.
    """

    size: int
    linger: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        size: Any = self.size
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _MAX_SIZE:
            raise ConfigurationError(
                f"Batch.size must be a whole number from 1 to {_MAX_SIZE}, not {size!r:.80}."
            )
        linger: Any = self.linger
        if not isinstance(linger, timedelta) or not timedelta() <= linger <= _MAX_LINGER:
            raise ConfigurationError(
                "Batch.linger must be a timedelta that is not negative or longer than "
                f"{_MAX_LINGER.total_seconds():g} s."
            )


@dataclass(frozen=True, slots=True)
class ItemSucceeded:
    """An item was said to have succeeded, with this result."""

    result: Any = None


@dataclass(slots=True)
class Verdicts:
    """What was said of the items of one batch, by their ids: a success, or what is wrong."""

    said: dict[str, ItemSucceeded | BaseException] = field(
        default_factory=dict[str, "ItemSucceeded | BaseException"]
    )
    #: Whether ``process_batch`` has returned.
    has_returned: bool = False
    #: Whether it is too late to say anything.
    is_over: bool = False


class BatchItem(Generic[MessageT_co, ResultT_contra]):
    """One message of a batch, and how to say what becomes of its job.

    Whatever is said last, while the batch runs, counts. An item of which nothing is said succeeds
    without a result when ``process_batch`` returns, and fails when that raises.
    """

    __slots__ = ("_verdicts", "context", "message")

    def __init__(self, message: MessageT_co, context: JobContext, verdicts: Verdicts) -> None:
        self.message = message
        self.context = context
        self._verdicts = verdicts

    @property
    def id(self) -> str:
        return self.context.id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.context.attempt

    @property
    def headers(self) -> Any:
        return self.context.headers

    @overload
    def succeed(self: BatchItem[Any, None]) -> None: ...
    @overload
    def succeed(self, result: ResultT_contra) -> None: ...
    def succeed(self, result: Any = None) -> None:
        """Finish the job; ``result`` is what ``Job.result()`` returns.

        It stands even if ``process_batch`` raises later on. Where all items share a transaction,
        say nothing instead: then they succeed when it is committed, and only then.
        """
        self._say(ItemSucceeded(result))

    def fail(self, error: BaseException) -> None:
        """Do what raising ``error`` does to a single job: charge the attempt, ask ``RETRY``."""
        if not isinstance(error, BaseException):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
            raise TypeError(f"An item fails with an exception, not with {type(error).__name__}.")
        self._say(error)

    def retry(self, delay: timedelta | None = None, *, reason: str = "") -> None:
        """Run the job again later, charged as one attempt, as ``raise Retry`` does."""
        self._say(Retry(delay, reason=reason))

    def snooze(self, delay: timedelta) -> None:
        """Run the job again after ``delay`` without charging an attempt, as ``raise Snooze``."""
        self._say(Snooze(delay))

    def reject(self, reason: str) -> None:
        """Make the job dead at once, as ``raise Reject`` does."""
        self._say(Reject(reason))

    def _say(self, verdict: ItemSucceeded | BaseException) -> None:
        if self._verdicts.is_over:
            raise BatchEndedError(
                f"The batch of job {self.id} has ended: it ran out of time, was given back, or "
                "process_batch has returned. What becomes of its items is decided."
            )
        self._verdicts.said[self.id] = verdict

    def __repr__(self) -> str:
        return f"BatchItem(id={self.id!r}, attempt={self.attempt!r})"
