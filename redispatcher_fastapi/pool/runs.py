"""One job in the hands of this process: why it was cancelled, and what becomes of it then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.backoff import Retry
from redispatcher_fastapi.broker.types import Cancelled, Died, Released, Retried, Succeeded
from redispatcher_fastapi.stopping import StopReason

if TYPE_CHECKING:
    import asyncio

    from redispatcher_fastapi.broker.types import Delivery, Outcome

#: What a handler brings about by raising; other deaths mean that it has done its work.
_RAISED = frozenset({"failed", "rejected"})


@dataclass(slots=True, eq=False)
class Run:
    """A delivery whose handler is running, and why it was cancelled if it was."""

    delivery: Delivery
    task: asyncio.Task[Any] | None = None
    cancelled_for: StopReason | None = None
    #: Whether its task has made its first step: one that is cancelled before never makes it.
    has_begun: bool = False
    is_ended: bool = False
    #: How often somebody called to cancel the job, as far as is known, and how often it was.
    calls: int = 0
    cancellations: int = 0

    def cancel(self, reason: StopReason) -> None:
        """Cancel the handler; the first reason counts, unless that was somebody's call.

        A thread is interrupted by nothing: it is waited for after somebody's call, and left to
        itself for any other reason.
        """
        if self.task is None or self.task.done() or self.is_ended:
            return
        if self.cancelled_for not in {None, StopReason.CANCELLED} or self.cancelled_for is reason:
            return
        if self.cancelled_for is None or reason is StopReason.LOST:
            self.cancelled_for = reason
        self.interrupt(reason)

    def call_off(self) -> None:
        """Do what a call to cancel the job is for, the first or a further one."""
        if self.cancelled_for is None:
            self.cancel(StopReason.CANCELLED)
        elif self.cancelled_for is StopReason.CANCELLED and not self.is_ended:
            self.interrupt(StopReason.CANCELLED)

    def interrupt(self, reason: StopReason) -> None:
        """Cancel the task, unless it is a thread that somebody's call is for."""
        stop = self.delivery.stop
        is_in_thread = stop is not None and stop.request(reason)
        if is_in_thread and reason is StopReason.CANCELLED:
            return
        if self.has_begun and self.task is not None:
            self.task.cancel()

    def conclude(self, outcome: Outcome | None) -> Outcome | None:
        """Return what becomes of the job; ``None`` for nothing, as somebody else has it.

        What the handler returned stands, although it was cancelled.
        """
        match self.cancelled_for:
            case StopReason.SHUTDOWN:
                return outcome if isinstance(outcome, Succeeded) else Released()
            case StopReason.LOST:
                return None if isinstance(outcome, Released) else outcome
            case StopReason.CANCELLED:
                return _after_cancellation(outcome)
            case _:
                return outcome


def _after_cancellation(outcome: Outcome | None) -> Outcome:
    match outcome:
        case Succeeded():
            return outcome
        case Died(reason=reason) if reason not in _RAISED:
            return outcome
        case Retried(error=error) if isinstance(error.exception, Retry):
            return Cancelled()  # it asked for another attempt: that is no error
        case Retried(error=error) | Died(error=error):
            return Cancelled(error)
        case _:
            return Cancelled()
