"""What a process does before it leaves: waits, gives back what still runs, ends its leases."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.describing import shown_id
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.stopping import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.claiming import Claimer
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.runs import Run
    from redispatcher_fastapi.pool.settling import Settler

logger = logging.getLogger("redispatcher.pool")

_UNWIND_SECONDS = 3.0
_SETTLE_SECONDS = 5.0
_DEPART_SECONDS = 2.0


async def wait_until_ended(
    tasks: set[asyncio.Task[Any]], seconds: float, *, or_set: asyncio.Event | None = None
) -> None:
    """Wait until all of these tasks have ended, for some seconds at most, or until an event is set.

    Tasks that join them or leave them meanwhile count as well.
    """
    loop = asyncio.get_running_loop()
    is_set = None if or_set is None else loop.create_task(or_set.wait())
    deadline = loop.time() + seconds
    try:
        while (left := deadline - loop.time()) > 0:
            # One that was cancelled before its first step could not take itself out.
            tasks.difference_update([task for task in tasks if task.done()])
            if not tasks or (is_set is not None and is_set.done()):
                return
            watched: set[asyncio.Task[Any]] = set(tasks)
            if is_set is not None:
                watched.add(is_set)
            await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if is_set is not None:
            is_set.cancel()


async def cancel_rest(
    lanes: Sequence[Lane],
    tasks: set[asyncio.Task[Any]],
    *,
    give_back: Callable[[Lane, Run], None],
) -> None:
    """Cancel what still runs; ``give_back`` is called for what does not heed that."""
    runs = [(lane, run) for lane in lanes for run in lane.runs.values()]
    if not runs:
        return
    logger.info("Giving back %d job(s) that did not finish in time.", len(runs))
    for _, run in runs:
        run.cancel(StopReason.SHUTDOWN)
    await wait_until_ended(tasks, _UNWIND_SECONDS)
    for lane, run in runs:
        if not run.is_ended:
            logger.warning(
                "Job %s does not heed its cancellation; giving it back all the same.",
                shown_id(run.delivery.job_id),
            )
            give_back(lane, run)


async def finish_settling(
    settler: Settler, settling: asyncio.Task[None], lanes: Sequence[Lane], hooks: PoolHooks
) -> None:
    """Wait until Redis has confirmed how the jobs ended, or for as long as that is worth."""
    settler.close()
    await asyncio.wait([settling], timeout=_SETTLE_SECONDS)
    if settling.done():
        return
    settling.cancel()
    for lane in lanes:
        if lane.unsettled:
            job_ids = [delivery.job_id for delivery in lane.unsettled.values()]
            hooks.outcomes_unconfirmed(lane.queue, job_ids)


async def depart(settler: Settler, claimer: Claimer) -> None:
    """Give back what Redis still sees here, and end the leases."""
    try:
        async with asyncio.timeout(_DEPART_SECONDS):
            await settler.settle_rest(claimer.queues)
            await claimer.depart()
    except (BrokerError, TimeoutError) as error:
        logger.warning("Could not take leave of Redis, the leases end by themselves: %s", error)
