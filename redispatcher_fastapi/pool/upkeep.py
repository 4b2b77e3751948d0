"""Takes back what lost processes held and forgets finished jobs; every pool does, none leads."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.pool.graces import GraceNotes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redispatcher_fastapi.broker.retrying import Watch
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.hooks import PoolHooks

_INTERVAL = 5.0
_SHORTEST = 0.05


async def keep_up(
    broker: WorkerBroker,
    queues: Sequence[str],
    hooks: PoolHooks,
    *,
    watch: Watch,
    woken: Callable[[], None],
    onward: Callable[[str], None],
) -> None:
    """Look after the queues every few seconds, and at the moment a lease ends, until cancelled.

    ``woken`` is called when there are jobs to claim again: the token for them can end up with the
    very process that lost them. ``onward`` is told of queues with ends of jobs of which something
    follows.
    """
    began = time.monotonic()
    graces = GraceNotes()
    while True:
        kept = await repeat_until_answered(
            lambda: broker.upkeep(queues), "look after the queues", watch=watch
        )
        since_start = timedelta(seconds=time.monotonic() - began)
        for grace in graces.pick_new(kept.graces, since_start=since_start):
            hooks.leases_restarted(grace)
        for job in kept.taken:
            hooks.job_taken_back(job)
            if job.is_isolated:
                hooks.job_isolated(job)
            elif job.is_dead:
                hooks.job_parked(job.queue, job.job_id, "worker_lost")
        if kept.taken:
            woken()
        for queue in kept.onward:
            onward(queue)
        # Spread out, so that many pools do not all come at once.
        delay = _INTERVAL * random.uniform(0.5, 1.0)
        if kept.next_end is not None:
            delay = min(delay, kept.next_end.total_seconds() + _SHORTEST * random.uniform(1.0, 3.0))
        if kept.has_more:
            delay = min(delay, _SHORTEST)
        await asyncio.sleep(delay)
