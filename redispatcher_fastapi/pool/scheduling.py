"""Makes the jobs of schedules on time; every pool does, and Redis lets one of them succeed."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.broker.scheduling import ScheduleBroker
from redispatcher_fastapi.describing import log_exception
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.scheduling import Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.scheduling import Timetable

logger = logging.getLogger("redispatcher.pool")

#: How long nobody looks where nothing is due; what changes meanwhile wakes one of the pools.
_LONGEST_WAIT = 5.0
_AFTER_FAILURE = 5.0
#: So that of many pools, which all wait for the same tick, the first is mostly done with it.
_SPREAD = 0.01


def make_schedulers(
    broker: Broker, timetables: Sequence[Timetable], groups: Sequence[Sequence[str]]
) -> list[Scheduler]:
    """Return one scheduler for each group of queues that answer together."""
    schedules = ScheduleBroker(
        broker.connections.worker_line,
        broker.clock,
        max_queue_length=broker.settings.max_queue_length,
    )
    return [
        Scheduler(schedules, [each for each in timetables if each.queue in queues])
        for queues in groups
    ]


async def keep_schedules(scheduler: Scheduler, changed: asyncio.Event) -> None:
    """Look at the schedules every few seconds, at each tick, and when told so, until cancelled."""
    while True:
        changed.clear()
        try:
            round_ = await repeat_until_answered(scheduler.look, "look at the schedules")
            wait = _LONGEST_WAIT if round_.wait is None else round_.wait.total_seconds()
            wait = min(wait, _LONGEST_WAIT) + _SPREAD * random.random()
        except BrokerError:
            raise
        except Exception as error:  # such as of a cipher of the user's
            log_exception(logger, error, "The schedules cannot be looked after.")
            wait = _AFTER_FAILURE
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await changed.wait()
