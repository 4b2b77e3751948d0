"""``Publisher[MyConsumer]``: typed for the checker, dependable for FastAPI."""

from __future__ import annotations

from redispatcher_fastapi.publisher.alias import STATE_KEY, PublisherAlias, not_running
from redispatcher_fastapi.publisher.publisher import C, Publisher
from redispatcher_fastapi.publisher.publishers import Publishers
from redispatcher_fastapi.publisher.transactional import TransactionalPublisher

__all__ = [
    "STATE_KEY",
    "C",
    "Publisher",
    "PublisherAlias",
    "Publishers",
    "TransactionalPublisher",
    "not_running",
]
