"""The log of a pool: one line per event, its name and what it is about in ``extra``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Died, Released, Retried, Snoozed, Succeeded
from redispatcher_fastapi.describing import holds_payload, shown_id
from redispatcher_fastapi.errors import PublishUncertainError
from redispatcher_fastapi.hooks.pool_hooks import PoolHooks

if TYPE_CHECKING:
    from datetime import timedelta

    from redispatcher_fastapi.broker.types import (
        AttemptError,
        Delivery,
        Grace,
        Outcome,
        TakenBack,
    )
    from redispatcher_fastapi.hooks.events import LoopBlock, Outage

_LOST = "worker_lost"
_MOST_QUEUES = 10
_LISTED_IDS = 20


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
                extra=_fields(delivery, "job.started"),
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
                        extra=_fields(delivery, "job.succeeded", seconds),
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
                    _shown(error) if is_shown else f": {error.text}",
                    exc_info=_raised(error) if is_shown else None,
                    extra=_fields(delivery, "job.retried", seconds),
                )
            case Snoozed(delay=delay):
                self._log.info(
                    "%s %s snoozed for %.1f s.",
                    name,
                    shown_id(delivery.job_id),
                    delay.total_seconds(),
                    extra=_fields(delivery, "job.snoozed", seconds),
                )
            case Died(reason=reason, error=error):
                self._log.error(
                    "%s %s is dead (%s) after attempt %d%s",
                    name,
                    shown_id(delivery.job_id),
                    reason,
                    delivery.attempt,
                    _shown(error),
                    exc_info=_raised(error),
                    extra={**_fields(delivery, "job.dead", seconds), "reason": reason},
                )
            case Released():
                self._log.info(
                    "%s %s was given back unfinished.",
                    name,
                    shown_id(delivery.job_id),
                    extra=_fields(delivery, "job.released", seconds),
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
            extra={**_fields(delivery, "job.refused"), "reason": "gone" if is_gone else "stale"},
        )

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        self._log.error(
            "This process was given up on queue %s; %s",
            queue,
            f"cancelling {len(job_ids)} job(s) that others run now: {_shown_ids(job_ids)}"
            if job_ids
            else "it ran none of its jobs, and goes on under a new lease.",
            extra=_jobs_of(queue, job_ids, "pool.given_up", "lease_ended"),
        )

    def outcomes_unconfirmed(self, queue: str, job_ids: list[str]) -> None:
        self._log.warning(
            "Redis did not confirm how %d job(s) of queue %s ended; those it was not told of run "
            "again when the lease ends: %s",
            len(job_ids),
            queue,
            _shown_ids(job_ids),
            extra=_jobs_of(queue, job_ids, "pool.unconfirmed", "stopped_unconfirmed"),
        )

    def job_taken_back(self, taken: TakenBack) -> None:
        level = logging.ERROR if taken.is_dead else logging.WARNING
        self._log.log(
            level,
            "Job %s in queue %s was lost with its process (loss %d)%s.",
            shown_id(taken.job_id),
            taken.queue,
            taken.losses,
            " and is dead (worker_lost)" if taken.is_dead else "; it runs again",
            extra=_loss_fields(taken, "job.taken_back"),
        )

    def job_isolated(self, taken: TakenBack) -> None:
        self._log.warning(
            "Job %s in queue %s is isolated after %d losses: it runs only in a process that runs "
            "nothing else.",
            shown_id(taken.job_id),
            taken.queue,
            taken.losses,
            extra=_loss_fields(taken, "job.isolated"),
        )

    def solo_run_started(self, delivery: Delivery, name: str) -> None:
        self._log.warning(
            "%s %s runs alone in this process, as it was lost %d times.",
            name,
            shown_id(delivery.job_id),
            delivery.losses,
            extra={
                **_fields(delivery, "job.solo_started"),
                "losses": delivery.losses,
                "reason": _LOST,
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

    def claiming_failed(self, outage: Outage) -> None:
        seconds = outage.lasted.total_seconds()
        self._log.warning(
            "Cannot claim jobs of %s, for %.1f s now: %s",
            _listed(outage.queues),
            seconds,
            outage.reason,
            extra=_outage_fields(outage, "pool.cannot_claim"),
        )

    def claiming_resumed(self, outage: Outage) -> None:
        self._log.warning(
            "Can claim jobs of %s again, after %.1f s.",
            _listed(outage.queues),
            outage.lasted.total_seconds(),
            extra=_outage_fields(outage, "pool.can_claim"),
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
            extra=_block_fields(block, "pool.loop_blocked"),
        )

    def loop_freed(self, block: LoopBlock) -> None:
        self._log.warning(
            "The event loop goes on after %.1f s.",
            block.lasted.total_seconds(),
            extra=_block_fields(block, "pool.loop_freed"),
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
            _shown_ids(job_ids),
            error,
            extra=_jobs_of(
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


def _listed(queues: tuple[str, ...]) -> str:
    shown = ", ".join(queues[:_MOST_QUEUES])
    left = len(queues) - _MOST_QUEUES
    return f"{shown} and {left} more" if left > 0 else shown


def _loss_fields(taken: TakenBack, event: str) -> dict[str, object]:
    return {
        "event": event,
        "queue": taken.queue,
        "job_id": taken.job_id,
        "losses": taken.losses,
        "reason": _LOST,
    }


def _outage_fields(outage: Outage, event: str) -> dict[str, object]:
    return {
        "event": event,
        "queues": list(outage.queues),
        "seconds": round(outage.lasted.total_seconds(), 3),
        "reason": outage.reason,
    }


def _block_fields(block: LoopBlock, event: str) -> dict[str, object]:
    return {
        "event": event,
        "consumer": block.name,
        "queue": block.queue,
        "job_id": block.job_id,
        "seconds": round(block.lasted.total_seconds(), 3),
        "reason": "process_frozen" if block.is_frozen else "loop_blocked",
    }


def _fields(delivery: Delivery, event: str, seconds: float | None = None) -> dict[str, object]:
    fields: dict[str, object] = {
        "event": event,
        "job_id": delivery.job_id,
        "queue": delivery.queue,
        "attempt": delivery.attempt,
    }
    if seconds is not None:
        fields["duration_ms"] = round(seconds * 1000, 3)
    return fields


def _shown(error: AttemptError | None) -> str:
    if error is None:
        return "."
    if error.exception is not None and holds_payload(error.exception):
        # The standard rendering would show input values; ours does not.
        return f": {error.text}\n{error.traceback}"
    return f": {error.text}"


def _raised(error: AttemptError | None) -> BaseException | None:
    if error is None or error.exception is None or holds_payload(error.exception):
        return None
    return error.exception


def _shown_ids(job_ids: list[str]) -> str:
    return ", ".join(map(shown_id, job_ids[:_LISTED_IDS]))


def _jobs_of(queue: str, job_ids: list[str], event: str, reason: str) -> dict[str, object]:
    return {
        "event": event,
        "queue": queue,
        "job_ids": job_ids[:_LISTED_IDS],
        "reason": reason,
    }
