"""The log of a pool: one line per event, its name and what it is about in ``extra``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.describing import shown_id
from redispatcher_fastapi.errors import PublishUncertainError
from redispatcher_fastapi.hooks.job_logging import JobLoggingHooks
from redispatcher_fastapi.hooks.record_fields import (
    block_fields,
    fields_of_jobs,
    listed_ids,
    listed_queues,
    outage_fields,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from redispatcher_fastapi.broker.types import (
        Grace,
    )
    from redispatcher_fastapi.hooks.events import LoopBlock, Outage


class LoggingHooks(JobLoggingHooks):
    """Writes one line per event; never a message body."""

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
            "Queue %s is paused: nothing of it starts now. Why, and until when, is in "
            "inspector.queue(...).",
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
            "Messages wait in the outbox%s: %s",
            f", for {seconds:.1f} s now" if seconds else "",
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
