"""Runs consumers: slots, claiming, leases, settling and the orderly end."""

from __future__ import annotations

from redispatcher_fastapi.pool.consumer_pool import ConsumerPool
from redispatcher_fastapi.pool.health import PoolHealth, PoolState, QueueHealth

__all__ = ["ConsumerPool", "PoolHealth", "PoolState", "QueueHealth"]
