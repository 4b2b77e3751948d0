"""What several log records have in common: their fields, and how things are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.describing import holds_payload, shown_id

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import AttemptError, Delivery, TakenBack
    from redispatcher_fastapi.hooks.events import LoopBlock, Outage

WORKER_LOST = "worker_lost"
_MOST_QUEUES = 10
_LISTED_IDS = 20


def listed_queues(queues: tuple[str, ...]) -> str:
    shown = ", ".join(queues[:_MOST_QUEUES])
    left = len(queues) - _MOST_QUEUES
    return f"{shown} and {left} more" if left > 0 else shown


def loss_fields(taken: TakenBack, event: str) -> dict[str, object]:
    return {
        "event": event,
        "queue": taken.queue,
        "job_id": taken.job_id,
        "losses": taken.losses,
        "reason": WORKER_LOST,
    }


def outage_fields(outage: Outage, event: str) -> dict[str, object]:
    return {
        "event": event,
        "queues": list(outage.queues),
        "seconds": round(outage.lasted.total_seconds(), 3),
        "reason": outage.reason,
    }


def block_fields(block: LoopBlock, event: str) -> dict[str, object]:
    return {
        "event": event,
        "consumer": block.name,
        "queue": block.queue,
        "job_id": block.job_id,
        "seconds": round(block.lasted.total_seconds(), 3),
        "reason": "process_frozen" if block.is_frozen else "loop_blocked",
    }


def job_fields(delivery: Delivery, event: str, seconds: float | None = None) -> dict[str, object]:
    fields: dict[str, object] = {
        "event": event,
        "job_id": delivery.job_id,
        "queue": delivery.queue,
        "attempt": delivery.attempt,
    }
    if seconds is not None:
        fields["duration_ms"] = round(seconds * 1000, 3)
    return fields


def shown_error(error: AttemptError | None) -> str:
    if error is None:
        return "."
    if error.exception is not None and holds_payload(error.exception):
        # The standard rendering would show input values; ours does not.
        return f": {error.text}\n{error.traceback}"
    return f": {error.text}"


def raised_error(error: AttemptError | None) -> BaseException | None:
    if error is None or error.exception is None or holds_payload(error.exception):
        return None
    return error.exception


def listed_ids(job_ids: list[str]) -> str:
    return ", ".join(map(shown_id, job_ids[:_LISTED_IDS]))


def fields_of_jobs(queue: str, job_ids: list[str], event: str, reason: str) -> dict[str, object]:
    return {
        "event": event,
        "queue": queue,
        "job_ids": job_ids[:_LISTED_IDS],
        "reason": reason,
    }
