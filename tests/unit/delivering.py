"""Deliveries without a broker, and what came of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from redispatcher_fastapi import BaseConsumer
from redispatcher_fastapi.broker.types import Delivery, Died, Outcome, Retried, Succeeded
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.consumer import definition_of, prepare

PUBLISHED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def deliver(message: Any, consumer: type[BaseConsumer], **headers: Any) -> Delivery:
    submission = prepare(definition_of(consumer), message, headers=headers or None)
    return Delivery(
        queue=consumer.QUEUE,
        job_id=submission.job_id,
        holder="holder",
        sequence=1,
        token="",
        envelope=submission.envelope,
        published_ms=to_milliseconds(PUBLISHED_AT),
        attempt=2,
    )


def result(outcome: Outcome) -> bytes | None:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


def error_of(outcome: Outcome) -> str:
    assert isinstance(outcome, (Died, Retried)), outcome
    assert outcome.error is not None
    return outcome.error.text
