"""What all consumers of these tests have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redispatcher_fastapi import BaseConsumer, JobContext
from tests.reliability.oracle import note


class Observed(BaseConsumer):
    """Notes when a handler starts and how it ends."""

    async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
        note("started", context.id, context.attempt)
        try:
            result = await run()
        except asyncio.CancelledError:
            note("cancelled", context.id, context.attempt)
            raise
        except BaseException:
            note("raised", context.id, context.attempt)
            raise
        note("finished", context.id, context.attempt)
        return result
