"""What the pool tells about its work; it emits, and never formats.

What the methods of ``PoolHooks`` are given is importable from here.
"""

from __future__ import annotations

from redispatcher_fastapi.broker.types import (
    AttemptError,
    Cancelled,
    Delivery,
    Died,
    Grace,
    Limited,
    Outcome,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    TakenBack,
)
from redispatcher_fastapi.hooks.events import LoopBlock, Outage
from redispatcher_fastapi.hooks.logging_hooks import LoggingHooks
from redispatcher_fastapi.hooks.pool_hooks import GuardedHooks, PoolHooks, check_hooks

__all__ = [
    "AttemptError",
    "Cancelled",
    "Delivery",
    "Died",
    "Grace",
    "GuardedHooks",
    "Limited",
    "LoggingHooks",
    "LoopBlock",
    "Outage",
    "Outcome",
    "PoolHooks",
    "Released",
    "Retried",
    "Snoozed",
    "Succeeded",
    "TakenBack",
    "check_hooks",
]
