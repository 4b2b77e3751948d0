"""What the tester ran, and the errors for runs that no test wants."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from redispatcher_fastapi.errors import RedispatcherError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from redispatcher_fastapi.consumer import BaseConsumer

RunOutcome = Literal["succeeded", "retried", "snoozed", "limited", "dead", "cancelled", "refused"]


@dataclass(frozen=True, slots=True)
class JobRun:
    """One attempt at one job.

    ``refused`` means that the job was no longer this run's when it ended, because the test
    cleared the store meanwhile.
    """

    consumer: type[BaseConsumer]
    job_id: str
    queue: str
    attempt: int
    outcome: RunOutcome
    #: What ``process_message`` returned, after its way through JSON.
    result: Any = None
    #: What the handler raised, why it never ran, or why its result cannot be read; ``None`` when
    #: it succeeded or snoozed.
    error: BaseException | None = None
    #: Why a dead job is dead, as in ``JobRecord.reason``.
    reason: str | None = None
    #: When it runs again.
    due_at: datetime | None = None
    #: Whether the handler itself decided to run again, with ``Retry`` or ``Snooze``.
    is_put_off: bool = False

    def __str__(self) -> str:
        text = f"{self.consumer.__qualname__} {self.job_id} attempt {self.attempt}: {self.outcome}"
        if self.reason is not None:
            text += f" ({self.reason})"
        if self.due_at is not None:
            text += f", due {self.due_at.isoformat()}"
        if self.error is not None:
            text += f": {type(self.error).__qualname__}: {self.error}"
        return text


@dataclass(frozen=True, slots=True)
class RunReport:
    """What ran, in order; ``str(report)`` has a line for each run."""

    runs: tuple[JobRun, ...] = ()
    #: When the next job falls due, if one waits for its time.
    next_due_at: datetime | None = None
    #: Per queue, how many jobs wait for which the tester has no consumer.
    unclaimed: Mapping[str, int] = field(default_factory=dict[str, int])

    def of(self, consumer: type[BaseConsumer]) -> list[JobRun]:
        """Return the runs of one consumer."""
        return [run for run in self.runs if run.consumer is consumer]

    def failures(
        self, expected: type[BaseException] | tuple[type[BaseException], ...] = ()
    ) -> list[JobRun]:
        """Return the attempts that failed with anything but an ``expected`` exception."""
        return [
            run
            for run in self.runs
            if run.error is not None and not run.is_put_off and not isinstance(run.error, expected)
        ]

    def __str__(self) -> str:
        lines = [str(run) for run in self.runs] or ["Nothing was due."]
        if self.next_due_at is not None:
            lines.append(f"The next job is due {self.next_due_at.isoformat()}.")
        lines += [
            f"No consumer of the tester takes queue {queue}, where {count} job(s) wait."
            for queue, count in self.unclaimed.items()
        ]
        return "\n".join(lines)


class FailedRunsError(RedispatcherError, AssertionError):
    """Raised when jobs failed and the test did not expect it; ``report`` has all that ran."""

    def __init__(self, failures: Sequence[JobRun], report: RunReport) -> None:
        listed = "\n".join(f"  {run}" for run in failures)
        super().__init__(
            f"{len(failures)} of {len(report.runs)} run(s) failed:\n{listed}\n"
            "Where that is what the test is about, pass expected=TheError."
        )
        self.report = report


class EndlessRunError(RedispatcherError, AssertionError):
    """Raised when jobs keep bringing about further jobs; ``report`` has all that ran."""

    def __init__(self, limit: int, report: RunReport) -> None:
        most = Counter(run.consumer.__qualname__ for run in report.runs).most_common(3)
        names = ", ".join(f"{name} ({count})" for name, count in most)
        super().__init__(
            f"{limit} runs, and still more is due. Most of them were {names}: does one publish to "
            "itself, snooze for no time, or have a schedule that is due as often? If so many are "
            "right, raise the limit."
        )
        self.report = report
