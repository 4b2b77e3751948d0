"""Cancels what somebody called off while it ran, as often as it was called."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Cancelled
from redispatcher_fastapi.pool.batching import Member
from redispatcher_fastapi.stopping import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.runs import Run

#: A queue and the id of a job.
JobKey = tuple[str, str]
_NO_CALLS: Mapping[JobKey, int] = MappingProxyType({})


class Canceller:
    """What one claimer does about jobs that were cancelled while they ran.

    Every claim lists those that run here and were called off. Redis notes each call besides, for
    this process alone; as a note may be lost, it only tells how often a job was called off.
    """

    def __init__(
        self,
        hooks: PoolHooks,
        *,
        end: Callable[[Lane, Run, Cancelled], None],
        patience: timedelta = timedelta(seconds=5),
    ) -> None:
        """``end`` is called for a job that had not begun; ``patience`` is how long a handler may
        take to end before that is told of.
        """
        self._hooks = hooks
        self._end = end
        self._patience = patience.total_seconds()
        self._calls: Counter[JobKey] = Counter()
        self._loop = asyncio.get_running_loop()

    def note_call(self, queue: str, job_id: str) -> None:
        """Take in that somebody called to cancel a job."""
        self._calls[queue, job_id] += 1

    def take_calls(self) -> Mapping[JobKey, int]:
        """Return what was called since the last time; a claim that begins now knows of it all."""
        if not self._calls:
            return _NO_CALLS
        calls, self._calls = self._calls, Counter()
        return calls

    def apply(
        self, lanes: Mapping[str, Lane], listed: Sequence[JobKey], calls: Mapping[JobKey, int]
    ) -> None:
        """Cancel what a claim lists, and once more for each further call."""
        found = {
            (lane.queue, run.delivery.job_id): (lane, run)
            for lane in ({queue: lanes[queue] for queue, _ in listed}).values()
            for run in lane.runs.values()
            if run.delivery.holder == lane.holder
        }
        for key in listed:
            if key in found:  # or it has ended, and Redis is about to be told
                self._cancel(*found[key], calls.get(key, 0))

    def _cancel(self, lane: Lane, run: Run, calls: int) -> None:
        run.calls += calls
        if run.cancelled_for is None:
            run.cancellations = 1
            run.call_off()
            if isinstance(run, Member) and not run.batch.has_begun:
                run.batch.members.remove(run)
                self._hooks.job_ended(run.delivery, lane.name, Cancelled(), 0.0)
                self._end(lane, run, Cancelled())
            else:
                self._loop.call_later(self._patience, self._tell_if_ignored, lane, run)
        elif run.cancelled_for is StopReason.CANCELLED and run.cancellations < run.calls:
            run.cancellations += 1
            run.call_off()

    def _tell_if_ignored(self, lane: Lane, run: Run) -> None:
        if not run.is_ended:
            self._hooks.cancellation_ignored(run.delivery, lane.name, self._patience)
