"""Runs what was claimed, a job or a batch of them, and hands over how each job ended."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Released
from redispatcher_fastapi.describing import log_exception, shown_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from redispatcher_fastapi.broker.types import Outcome
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.batching import BatchLane, BatchTask
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.runs import Run
    from redispatcher_fastapi.pool.solo import SoloTurn

logger = logging.getLogger("redispatcher.pool")


class JobRunner:
    """What the tasks of a worker do; ``finished`` is called once for each job, whatever happens."""

    def __init__(
        self,
        hooks: PoolHooks,
        solo: SoloTurn,
        *,
        finished: Callable[[Lane, Run, Outcome | None], None],
    ) -> None:
        self._hooks = hooks
        self._solo = solo
        self._finished = finished

    async def run_job(self, lane: Lane, run: Run) -> None:
        """Run a job by itself."""
        delivery, hooks = run.delivery, self._hooks
        outcome: Outcome | None = Released()
        started = perf_counter()
        try:
            run.has_begun = True
            if self._solo.running is delivery:
                hooks.solo_run_started(delivery, lane.name)
            hooks.job_started(delivery, lane.name)
            try:
                if run.cancelled_for is None:
                    outcome = await lane.execution.run(delivery)
            except asyncio.CancelledError as error:
                if run.cancelled_for is None:  # the handler cancelled its own task
                    outcome = lane.execution.fail(delivery, error)
            except Exception as error:
                # Given back it would run again at once, and again; charged, it comes to an end.
                _log_fault(lane, run, error)
                outcome = lane.execution.fail(delivery, error)
            if run.cancelled_for is not None:
                outcome = run.conclude(outcome)
            delivery.ran_for = seconds = perf_counter() - started
            if outcome is not None:
                hooks.job_ended(delivery, lane.name, outcome, seconds)
        finally:
            self._finished(lane, run, outcome)

    async def run_batch(self, lane: BatchLane, batch: BatchTask, linger: timedelta) -> None:
        """Wait until a batch is complete, for no longer than ``linger``, and run it."""
        outcomes: dict[int, Outcome] = {}
        try:
            batch.is_running = True
            try:
                if not batch.is_cancelled:
                    async with asyncio.timeout(linger.total_seconds()):
                        await batch.is_complete.wait()
            except TimeoutError:
                lane.begin(batch)
            if batch.has_begun and not batch.is_cancelled:
                await self._run_members(lane, batch, outcomes)
        except asyncio.CancelledError:
            pass  # what is undecided is given back, unless it was lost
        finally:
            lane.end(batch)
            for member in batch.members:
                self._finished(lane, member, member.decide(outcomes))

    async def _run_members(
        self, lane: BatchLane, batch: BatchTask, outcomes: dict[int, Outcome]
    ) -> None:
        started = perf_counter()
        for member in batch.members:
            if self._solo.running is member.delivery:
                self._hooks.solo_run_started(member.delivery, lane.name)
            self._hooks.job_started(member.delivery, lane.name)
        failure: BaseException | None = None
        try:
            deliveries = [member.delivery for member in batch.members]
            await lane.batch_execution.run_batch(deliveries, outcomes)
        except asyncio.CancelledError as error:
            if not (batch.is_cancelled or batch.is_called_off):  # it cancelled its own task
                failure = error
        except Exception as error:
            _log_fault(lane, batch.members[0], error)
            failure = error
        seconds = perf_counter() - started
        for member in batch.members:
            delivery = member.delivery
            if failure is not None and delivery.sequence not in outcomes:
                outcomes[delivery.sequence] = lane.execution.fail(delivery, failure)
            delivery.ran_for = seconds
            outcome = member.decide(outcomes)
            if outcome is not None:
                self._hooks.job_ended(delivery, lane.name, outcome, seconds)


def _log_fault(lane: Lane, run: Run, error: Exception) -> None:
    log_exception(
        logger,
        error,
        "Running %s %s went wrong in the pool itself.",
        lane.name,
        shown_id(run.delivery.job_id),
    )
