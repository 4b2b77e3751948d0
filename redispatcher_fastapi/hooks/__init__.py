"""What the pool tells about its work; it emits, and never formats."""

from __future__ import annotations

from redispatcher_fastapi.hooks.events import LoopBlock, Outage
from redispatcher_fastapi.hooks.logging_hooks import LoggingHooks
from redispatcher_fastapi.hooks.pool_hooks import GuardedHooks, PoolHooks

__all__ = ["GuardedHooks", "LoggingHooks", "LoopBlock", "Outage", "PoolHooks"]
