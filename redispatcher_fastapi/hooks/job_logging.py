"""What a pool logs of each job: one line per event, never with a message body."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import (
    Cancelled,
    Died,
    Limited,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
from redispatcher_fastapi.describing import shown_id
from redispatcher_fastapi.hooks.pool_hooks import PoolHooks
from redispatcher_fastapi.hooks.record_fields import (
    WORKER_LOST,
    job_fields,
    loss_fields,
    raised_error,
    shown_error,
)

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import (
        Delivery,
        Outcome,
        TakenBack,
    )


class JobLoggingHooks(PoolHooks):
    """Writes a line for each event in the life of a job."""

    def __init__(self) -> None:
        self._log = logging.getLogger("redispatcher.job")

    def job_started(self, delivery: Delivery, name: str) -> None:
        if self._log.isEnabledFor(logging.DEBUG):
            self._log.debug(
                "%s %s started.",
                name,
                shown_id(delivery.job_id),
                extra=job_fields(delivery, "job.started"),
            )

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        match outcome:
            case Succeeded():
                if self._log.isEnabledFor(logging.INFO):
                    self._log.info(
                        "%s %s succeeded in %.3f s.",
                        name,
                        shown_id(delivery.job_id),
                        seconds,
                        extra=job_fields(delivery, "job.succeeded", seconds),
                    )
            case Retried(delay=delay, error=error):
                # Once in full; the repetitions only for those who want everything.
                is_shown = delivery.attempt == 1 or self._log.isEnabledFor(logging.DEBUG)
                self._log.warning(
                    "%s %s failed on attempt %d, runs again in %.1f s%s",
                    name,
                    shown_id(delivery.job_id),
                    delivery.attempt,
                    delay.total_seconds(),
                    shown_error(error) if is_shown else f": {error.text}",
                    exc_info=raised_error(error) if is_shown else None,
                    extra=job_fields(delivery, "job.retried", seconds),
                )
            case Snoozed(delay=delay):
                self._log.info(
                    "%s %s snoozed for %.1f s.",
                    name,
                    shown_id(delivery.job_id),
                    delay.total_seconds(),
                    extra=job_fields(delivery, "job.snoozed", seconds),
                )
            case Limited(delay=delay, is_queue=is_queue):
                self._log.info(
                    "%s %s ran into a limit; nothing of its %s starts for %.1f s.",
                    name,
                    shown_id(delivery.job_id),
                    "queue" if is_queue else "partition",
                    delay.total_seconds(),
                    extra=job_fields(delivery, "job.limited", seconds),
                )
            case Died(reason=reason, error=error):
                self._log.error(
                    "%s %s is dead (%s) after attempt %d%s",
                    name,
                    shown_id(delivery.job_id),
                    reason,
                    delivery.attempt,
                    shown_error(error),
                    exc_info=raised_error(error),
                    extra={**job_fields(delivery, "job.dead", seconds), "reason": reason},
                )
            case Cancelled(error=error):
                self._log.info(
                    "%s %s was cancelled after %.3f s%s",
                    name,
                    shown_id(delivery.job_id),
                    seconds,
                    "." if error is None else f", and raised: {error.text}",
                    extra=job_fields(delivery, "job.cancelled", seconds),
                )
            case Released():
                self._log.info(
                    "%s %s was given back unfinished.",
                    name,
                    shown_id(delivery.job_id),
                    extra=job_fields(delivery, "job.released", seconds),
                )

    def job_parked(self, queue: str, job_id: str, reason: str) -> None:
        self._log.info(
            "Job %s in queue %s is parked: dead (%s), and kept to be looked at.",
            shown_id(job_id),
            queue,
            reason,
            extra={"event": "job.parked", "queue": queue, "job_id": job_id, "reason": reason},
        )

    def write_refused(
        self, delivery: Delivery, name: str, outcome: Outcome, *, is_gone: bool
    ) -> None:
        cause = (
            "Redis does not know it any more" if is_gone else "another process has taken it over"
        )
        self._log.error(
            "What became of %s %s (%s) was refused: %s.",
            name,
            shown_id(delivery.job_id),
            type(outcome).__name__.lower(),
            cause,
            extra={**job_fields(delivery, "job.refused"), "reason": "gone" if is_gone else "stale"},
        )

    def job_called_off(self, delivery: Delivery, name: str, outcome: Outcome) -> None:
        self._log.info(
            "%s %s (%s) does not run again: it was cancelled meanwhile.",
            name,
            shown_id(delivery.job_id),
            type(outcome).__name__.lower(),
            extra=job_fields(delivery, "job.called_off"),
        )

    def cancellation_ignored(self, delivery: Delivery, name: str, seconds: float) -> None:
        self._log.warning(
            "%s %s still runs %.0f s after it was cancelled, and keeps its slot.",
            name,
            shown_id(delivery.job_id),
            seconds,
            extra=job_fields(delivery, "job.cancel_ignored"),
        )

    def job_taken_back(self, taken: TakenBack) -> None:
        level = logging.ERROR if taken.is_dead else logging.WARNING
        self._log.log(
            level,
            "Job %s in queue %s was lost with its process (loss %d)%s.",
            shown_id(taken.job_id),
            taken.queue,
            taken.losses,
            " and is dead (worker_lost)"
            if taken.is_dead
            else "; somebody had cancelled it"
            if taken.is_cancelled
            else "; it runs again",
            extra=loss_fields(taken, "job.taken_back"),
        )

    def job_isolated(self, taken: TakenBack) -> None:
        self._log.warning(
            "Job %s in queue %s is isolated after %d losses: it runs only in a process that runs "
            "nothing else.",
            shown_id(taken.job_id),
            taken.queue,
            taken.losses,
            extra=loss_fields(taken, "job.isolated"),
        )

    def solo_run_started(self, delivery: Delivery, name: str) -> None:
        self._log.warning(
            "%s %s runs alone in this process, as it was lost %d times.",
            name,
            shown_id(delivery.job_id),
            delivery.losses,
            extra={
                **job_fields(delivery, "job.solo_started"),
                "losses": delivery.losses,
                "reason": WORKER_LOST,
            },
        )
