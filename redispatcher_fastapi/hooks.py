"""What the pool tells about its work; it emits, and never formats."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Died, Released, Retried, Snoozed, Succeeded
from redispatcher_fastapi.describing import holds_payload

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import AttemptError, Delivery, Outcome, TakenBack

logger = logging.getLogger("redispatcher.pool")


class PoolHooks:
    """Called by a pool as things happen; override what you need.

    The methods run on the event loop between jobs: they must not block. What they raise is logged.
    """

    def job_started(self, delivery: Delivery, name: str) -> None:
        """A handler is about to run."""

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        """A handler ended; Redis has not been told yet."""

    def write_refused(self, delivery: Delivery, name: str, *, is_gone: bool) -> None:
        """Redis refused a result: the lease was taken, or (``is_gone``) the job is unknown."""

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        """This process was given up on a queue; the jobs it ran there are cancelled."""

    def job_taken_back(self, taken: TakenBack) -> None:
        """A job was taken from a lost process."""


class GuardedHooks(PoolHooks):
    """Calls other hooks, and keeps from the pool what they raise: no job is to suffer for it."""

    def __init__(self, hooks: PoolHooks) -> None:
        self._hooks = hooks

    def job_started(self, delivery: Delivery, name: str) -> None:
        try:
            self._hooks.job_started(delivery, name)
        except Exception:
            _log_failure()

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        try:
            self._hooks.job_ended(delivery, name, outcome, seconds)
        except Exception:
            _log_failure()

    def write_refused(self, delivery: Delivery, name: str, *, is_gone: bool) -> None:
        try:
            self._hooks.write_refused(delivery, name, is_gone=is_gone)
        except Exception:
            _log_failure()

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        try:
            self._hooks.lease_lost(queue, job_ids)
        except Exception:
            _log_failure()

    def job_taken_back(self, taken: TakenBack) -> None:
        try:
            self._hooks.job_taken_back(taken)
        except Exception:
            _log_failure()


def _log_failure() -> None:
    logger.exception("A hook of the pool failed.")


class LoggingHooks(PoolHooks):
    """Writes one line per event; never a message body."""

    def __init__(self) -> None:
        self._log = logging.getLogger("redispatcher.job")

    def job_started(self, delivery: Delivery, name: str) -> None:
        if self._log.isEnabledFor(logging.DEBUG):
            self._log.debug(
                "%s %s started.", name, delivery.job_id, extra=_fields(delivery, "job.started")
            )

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        match outcome:
            case Succeeded():
                if self._log.isEnabledFor(logging.INFO):
                    self._log.info(
                        "%s %s succeeded in %.3f s.",
                        name,
                        delivery.job_id,
                        seconds,
                        extra=_fields(delivery, "job.succeeded", seconds),
                    )
            case Retried(delay=delay, error=error):
                # Once in full; the repetitions only for those who want everything.
                is_shown = delivery.attempt == 1 or self._log.isEnabledFor(logging.DEBUG)
                self._log.warning(
                    "%s %s failed on attempt %d, runs again in %.1f s%s",
                    name,
                    delivery.job_id,
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
                    delivery.job_id,
                    delay.total_seconds(),
                    extra=_fields(delivery, "job.snoozed", seconds),
                )
            case Died(reason=reason, error=error):
                self._log.error(
                    "%s %s is dead (%s) after attempt %d%s",
                    name,
                    delivery.job_id,
                    reason,
                    delivery.attempt,
                    _shown(error),
                    exc_info=_raised(error),
                    extra=_fields(delivery, "job.dead", seconds),
                )
            case Released():
                self._log.info(
                    "%s %s was given back unfinished.",
                    name,
                    delivery.job_id,
                    extra=_fields(delivery, "job.released", seconds),
                )

    def write_refused(self, delivery: Delivery, name: str, *, is_gone: bool) -> None:
        cause = (
            "Redis does not know it any more" if is_gone else "another process has taken it over"
        )
        self._log.error(
            "The result of %s %s was refused: %s.",
            name,
            delivery.job_id,
            cause,
            extra=_fields(delivery, "job.refused"),
        )

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        self._log.error(
            "This process was given up on queue %s; cancelling %d job(s) that others run now: %s",
            queue,
            len(job_ids),
            ", ".join(job_ids[:20]),
            extra={"event": "pool.given_up", "queue": queue},
        )

    def job_taken_back(self, taken: TakenBack) -> None:
        level = logging.ERROR if taken.is_dead else logging.WARNING
        self._log.log(
            level,
            "Job %s in queue %s was lost with its process (loss %d)%s.",
            taken.job_id,
            taken.queue,
            taken.losses,
            " and is dead (worker_lost)" if taken.is_dead else "; it runs again",
            extra={"event": "job.taken_back", "queue": taken.queue, "job_id": taken.job_id},
        )


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
