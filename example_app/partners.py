"""Orders that partners are told about, at a pace that each of them bears."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.database import Order, get_session
from example_app.tracing import TracedConsumer
from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    Exponential,
    JobContext,
    RateLimit,
    RateLimited,
    Reject,
    RetryPolicy,
)


class PartnerBusyError(Exception):
    """Raised when a partner answers 429: too many requests."""

    def __init__(self, retry_after: str) -> None:
        super().__init__(f"the partner is busy for {retry_after} s")
        self.retry_after = retry_after


class Partner:
    """Somebody else's service, which is not always there: it answers the third time."""

    async def announce(self, order: int, *, attempt: int) -> str:
        if attempt < 3:
            raise ConnectionError("the partner answered 503")
        return f"order {order} announced on attempt {attempt}"


class CallWebhook(TracedConsumer):
    """Tells a partner about an order, and tries again when that fails."""

    QUEUE = "webhooks"
    RETRY = RetryPolicy(
        max_attempts=5,
        backoff=Exponential(first=timedelta(seconds=1), max=timedelta(minutes=5)),
    )
    # Of each partner, over all processes; the orders of one do not delay those of another.
    LIMITS = (
        Concurrency(2, key="partner"),
        RateLimit(60, per=timedelta(minutes=1), key="partner"),
    )

    class Message(BaseConsumer.Message):
        order: int
        partner: str

    async def process_message(
        self,
        message: Message,
        context: JobContext,
        session: Annotated[AsyncSession, Depends(get_session)],
        partner: Annotated[Partner, Depends(Partner)],
    ) -> str:
        order = await session.get(Order, message.order)
        if order is None:
            raise Reject(f"there is no order {message.order}")
        if order.answer is None:
            try:
                order.answer = await partner.announce(order.id, attempt=context.attempt)
            except PartnerBusyError as busy:
                # Nothing is sent to this partner until then, and no attempt is charged.
                raise RateLimited(busy.retry_after) from busy
            await session.commit()
        return order.answer
