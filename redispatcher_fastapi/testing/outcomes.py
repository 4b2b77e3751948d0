"""What becomes of a run, in the words of a test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.backoff import Retry
from redispatcher_fastapi.broker.types import (
    Cancelled,
    Died,
    Limited,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
from redispatcher_fastapi.consumer import ResultDecodingError, result_reader
from redispatcher_fastapi.errors import JobFailedError, SealError
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.testing.report import JobRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from redispatcher_fastapi.broker.types import Delivery, Outcome
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.sealing import Sealing


def describe_run(
    definition: ConsumerDefinition,
    delivery: Delivery,
    outcome: Outcome,
    *,
    now: datetime,
    sealing: Sealing | None,
) -> JobRun:
    """Return what a test is told of one attempt."""
    run = JobRun(
        definition.consumer, delivery.job_id, delivery.queue, delivery.attempt, "succeeded"
    )
    match outcome:
        case Succeeded(result=result):
            try:
                read = result_reader(definition, sealing)
                return replace(run, result=read(delivery.job_id, result))
            except ResultDecodingError as error:
                return replace(run, error=error)
        case Retried(delay=delay, error=error):
            return replace(
                run,
                outcome="retried",
                error=error.exception,
                due_at=now + delay,
                is_put_off=isinstance(error.exception, Retry),
            )
        case Snoozed(delay=delay):
            return replace(run, outcome="snoozed", due_at=now + delay, is_put_off=True)
        case Died(reason=reason):
            return replace(run, outcome="dead", error=error_of(outcome), reason=reason)
        case Limited(delay=delay):
            return replace(run, outcome="limited", due_at=now + delay, is_put_off=True)
        case Cancelled(error=error):
            return replace(
                run, outcome="cancelled", error=None if error is None else error.exception
            )
        case Released():
            return replace(run, outcome="refused")


def error_of(died: Died) -> BaseException:
    """Return what made a job die, or an error that says it where nothing was raised."""
    if died.error is not None and died.error.exception is not None:
        return died.error.exception
    text = died.error.text if died.error is not None else "The job is dead."
    match died.reason:
        case "message_too_large" | "undecodable" | "unknown_version" | "invalid_message":
            return EnvelopeError(text, reason=died.reason)
        case "bad_signature" | "undecryptable":
            return SealError(text, reason=died.reason)
        case _:
            return JobFailedError(text, reason=died.reason, error=text)


def conclude(
    read_result: Callable[[bytes | None], Any], outcome: Outcome, raised: Sequence[BaseException]
) -> Any:
    """Return the result of a run, or raise what ended it; ``raised`` is what its handler raised."""
    match outcome:
        case Succeeded(result=result):
            return read_result(result)
        case Retried(error=error) if error.exception is not None:
            raise error.exception
        case Snoozed() | Limited() if raised:
            raise raised[-1]
        case Died():
            raise error_of(outcome)
        case _:
            raise RuntimeError(f"A run ended as no run does: {outcome}")
