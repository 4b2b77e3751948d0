"""The log of a pool: one line per event, its name and what it is about in ``extra``."""

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
from redispatcher_fastapi.errors import PublishUncertainError
from redispatcher_fastapi.hooks.pool_hooks import PoolHooks
from redispatcher_fastapi.hooks.record_fields import (
    WORKER_LOST,
    block_fields,
    fields_of_jobs,
    job_fields,
    listed_ids,
    listed_queues,
    loss_fields,
    outage_fields,
    raised_error,
    shown_error,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from redispatcher_fastapi.broker.types import (
        Delivery,
        Grace,
        Outcome,
        TakenBack,
    )
    from redispatcher_fastapi.hooks.events import LoopBlock, Outage


class LoggingHooks(PoolHooks):
    """Writes one line per event; never a message body."""

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

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        self._log.error(
            "This process was given up on queue %s; %s",
            queue,
            f"cancelling {len(job_ids)} job(s) that others run now: {listed_ids(job_ids)}"
            if job_ids
            else "it ran none of its jobs, and goes on under a new lease.",
            extra=fields_of_jobs(queue, job_ids, "pool.given_up", "lease_ended"),
        )

    def outcomes_unconfirmed(self, queue: str, job_ids: list[str]) -> None:
        self._log.warning(
            "Redis did not confirm how %d job(s) of queue %s ended; those it was not told of run "
            "again when the lease ends: %s",
            len(job_ids),
            queue,
            listed_ids(job_ids),
            extra=fields_of_jobs(queue, job_ids, "pool.unconfirmed", "stopped_unconfirmed"),
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

    def leases_restarted(self, grace: Grace) -> None:
        seconds = grace.gap.total_seconds()
        is_set_back = seconds < 0
        self._log.warning(
            "The leases of %d process(es) on queue %s begin anew, nobody is charged: %s.",
            grace.holders,
            grace.queue,
            f"the clock of Redis was set back by {-seconds:.1f} s"
            if is_set_back
            else f"for {seconds:.1f} s nobody could have renewed them",
            extra={
                "event": "pool.grace",
                "queue": grace.queue,
                "holders": grace.holders,
                "gap_seconds": seconds,
                "reason": "clock_set_back" if is_set_back else "outage",
            },
        )

    def flow_stuck(self, queue: str, job_id: str, reason: str) -> None:
        self._log.error(
            "What follows job %s of queue %s cannot be published yet: %s",
            shown_id(job_id),
            queue,
            reason,
            extra={"event": "flow.stuck", "queue": queue, "job_id": job_id, "reason": reason},
        )

    def pool_draining(self, running: int) -> None:
        self._log.info(
            "Draining: no new jobs; the pool ends once the %d job(s) that run have ended.",
            running,
            extra={"event": "pool.draining", "running": running},
        )

    def claiming_failed(self, outage: Outage) -> None:
        seconds = outage.lasted.total_seconds()
        self._log.warning(
            "Cannot claim jobs of %s, for %.1f s now: %s",
            listed_queues(outage.queues),
            seconds,
            outage.reason,
            extra=outage_fields(outage, "pool.cannot_claim"),
        )

    def claiming_resumed(self, outage: Outage) -> None:
        self._log.warning(
            "Can claim jobs of %s again, after %.1f s.",
            listed_queues(outage.queues),
            outage.lasted.total_seconds(),
            extra=outage_fields(outage, "pool.can_claim"),
        )

    def queue_paused(self, queue: str) -> None:
        self._log.info(
            "Queue %s is paused: nothing of it starts until it is resumed.",
            queue,
            extra={"event": "pool.paused", "queue": queue},
        )

    def queue_resumed(self, queue: str) -> None:
        self._log.info(
            "Queue %s is paused no longer.",
            queue,
            extra={"event": "pool.resumed", "queue": queue},
        )

    def loop_blocked(self, block: LoopBlock) -> None:
        culprit = (
            f"by {block.name} {shown_id(block.job_id)}"
            if block.job_id is not None
            else f"not by a handler's own task, but by {block.task or 'a callback'}"
        )
        self._log.error(
            "%s\n%s",
            f"The whole process stood still for {block.lasted.total_seconds():.1f} s: it was "
            "stopped, or a call into C kept the interpreter to itself. This is where the event "
            "loop is now:"
            if block.is_frozen
            else f"The event loop has been blocked for {block.lasted.total_seconds():.1f} s "
            f"{culprit}: nothing else runs on it. It is here:",
            block.stack,
            extra=block_fields(block, "pool.loop_blocked"),
        )

    def loop_freed(self, block: LoopBlock) -> None:
        self._log.warning(
            "The event loop goes on after %.1f s.",
            block.lasted.total_seconds(),
            extra=block_fields(block, "pool.loop_freed"),
        )

    def after_commit_failed(self, queue: str, job_ids: list[str], error: Exception) -> None:
        is_uncertain = isinstance(error, PublishUncertainError)
        self._log.error(
            "A transaction is committed, but %s: %d job(s) for queue %s, %s: %s",
            "perhaps not all it published is in Redis"
            if is_uncertain
            else "what it published is not in Redis",
            len(job_ids),
            queue,
            listed_ids(job_ids),
            error,
            extra=fields_of_jobs(
                queue,
                job_ids,
                "publish.after_commit_failed",
                "uncertain" if is_uncertain else "not_published",
            ),
        )

    def outbox_relayed(self, count: int) -> None:
        self._log.debug(
            "%d message(s) went from the outbox to Redis.",
            count,
            extra={"event": "outbox.relayed", "count": count},
        )

    def outbox_refused(self, queue: str, job_id: str, reason: str) -> None:
        self._log.error(
            "The message of job %s for queue %s stays in the outbox, as it cannot be published: %s",
            shown_id(job_id),
            shown_id(queue),
            reason,
            extra={
                "event": "outbox.refused",
                "queue": queue,
                "job_id": job_id,
                "reason": "not_publishable",
            },
        )

    def outbox_failed(self, reason: str, lasted: timedelta) -> None:
        seconds = lasted.total_seconds()
        self._log.warning(
            "Messages wait in the outbox, for %.1f s now: %s",
            seconds,
            reason,
            extra={
                "event": "outbox.cannot_relay",
                "seconds": round(seconds, 3),
                "reason": reason,
            },
        )

    def outbox_resumed(self, lasted: timedelta) -> None:
        seconds = lasted.total_seconds()
        self._log.warning(
            "The outbox is moved to Redis again, after %.1f s.",
            seconds,
            extra={"event": "outbox.can_relay", "seconds": round(seconds, 3)},
        )
