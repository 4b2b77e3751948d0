"""How a run is asked to stop, and how it finds out: by its cancellation, or by a token."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from anyio.to_thread import run_sync

if TYPE_CHECKING:
    from asyncio import Timeout
    from collections.abc import Callable, Sequence

    from anyio import CapacityLimiter

T = TypeVar("T")


class StopReason(StrEnum):
    """Why a run is to stop."""

    CANCELLED = "cancelled"
    """Somebody cancelled the job; it ends."""

    TIMEOUT = "timeout"
    """It ran longer than the ``TIMEOUT`` of its consumer; the attempt has failed."""

    SHUTDOWN = "shutdown"
    """The pool stops, and the grace period is over; the job runs again elsewhere."""

    LOST = "lost"
    """This process was given up for lost; the job is somebody else's."""


class StopRequested(BaseException):
    """Raised by :meth:`Cancellation.raise_if_requested`: let it pass, after cleaning up.

    As with ``asyncio.CancelledError``, ``except Exception`` does not catch it.
    """

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"The run is to stop: {reason}.")
        self.reason = reason

    def __reduce__(self) -> tuple[type[StopRequested], tuple[StopReason]]:
        return StopRequested, (self.reason,)


class Cancellation:
    """Whether a run is to stop; cheap to ask, in any thread.

    An ``async def`` handler is cancelled, and has no need to ask. A thread cannot be: it looks here
    now and then.
    """

    __slots__ = ("_reason", "_timeout")

    def __init__(self) -> None:
        self._reason: StopReason | None = None
        self._timeout: Timeout | None = None

    @property
    def reason(self) -> StopReason | None:
        """Why it is to stop; ``None`` as long as it is not."""
        if self._reason is None and self._timeout is not None and self._timeout.expired():
            return StopReason.TIMEOUT
        return self._reason

    @property
    def is_requested(self) -> bool:
        """Whether the run is to stop."""
        return self.reason is not None

    def raise_if_requested(self) -> None:
        """Return if the run may go on.

        Raises:
            StopRequested: it is to stop.
        """
        reason = self.reason
        if reason is not None:
            raise StopRequested(reason)

    def __repr__(self) -> str:
        return f"Cancellation(reason={self.reason!r})"


class StopSignal(Cancellation):
    """The pool's side of it."""

    __slots__ = ("_is_in_thread",)

    def __init__(self) -> None:
        super().__init__()
        self._is_in_thread = False

    def request(self, reason: StopReason) -> bool:
        """Ask for a stop; return whether a thread is at work, which nothing interrupts.

        The first reason stays, unless the run was lost.
        """
        if self._reason is None or reason is StopReason.LOST:
            self._reason = reason
        return self._is_in_thread

    def follow(self, timeout: Timeout) -> None:
        """Count the end of ``timeout`` as a request, too."""
        self._timeout = timeout

    def enter_thread(self) -> None:
        """Note, before looking whether a stop is requested, that a thread is about to work.

        Whoever requests one does it the other way round: one of the two notices the other.
        """
        self._is_in_thread = True

    def leave_thread(self) -> None:
        """Note that what the thread returned was taken in, or that nobody waits for it."""
        self._is_in_thread = False


async def run_in_thread(
    call: Callable[[], T], signals: Sequence[StopSignal], limiter: CapacityLimiter | None
) -> T:
    """Return what a call in a thread returns; cancelled, leave the thread to itself.

    Raises:
        StopRequested: all of ``signals`` asked for a stop before it began.
    """

    def begin() -> T:
        for signal in signals:
            signal.enter_thread()
        if signals and all(signal.is_requested for signal in signals):
            signals[0].raise_if_requested()
        return call()

    try:
        return await run_sync(begin, abandon_on_cancel=True, limiter=limiter)
    finally:
        for signal in signals:
            signal.leave_thread()
