"""Runs jobs so that the test, or what it tests, can cancel them meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.types import Released
from redispatcher_fastapi.pool.batching import BatchTask, Member
from redispatcher_fastapi.pool.runs import Run

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from redispatcher_fastapi.batch_execution import BatchExecution
    from redispatcher_fastapi.broker.types import Delivery, Outcome
    from redispatcher_fastapi.execution import Execution
    from redispatcher_fastapi.testing.memory import MemoryClient


async def run_job(client: MemoryClient, execution: Execution, delivery: Delivery) -> Outcome:
    """Return what becomes of a job, in a task of its own as in a pool.

    Only a cancellation of the task that waits is raised.
    """
    task = asyncio.create_task(execution.run(delivery))
    run = Run(delivery, task, has_begun=True)
    outcome: Outcome = Released()
    with _cancellable(client, [run]):
        is_cancelled, error = await _wait_for(task)
        if not is_cancelled:
            outcome = task.result()
        elif run.cancelled_for is None:  # the handler cancelled its own task
            outcome = execution.fail(delivery, error)
    return run.conclude(outcome) or Released()


async def run_batch(
    client: MemoryClient,
    execution: BatchExecution,
    deliveries: Sequence[Delivery],
    outcomes: dict[int, Outcome],
) -> None:
    """Put into ``outcomes`` what becomes of each job of a batch; raises as :func:`run_job`."""
    task = asyncio.create_task(execution.run_batch(deliveries, outcomes))
    batch = BatchTask(task=task, has_begun=True, is_running=True)
    batch.members += (Member(delivery, task, batch=batch) for delivery in deliveries)
    with _cancellable(client, batch.members):
        is_cancelled, error = await _wait_for(task)
    for member in batch.members:
        sequence = member.delivery.sequence
        if is_cancelled and not batch.is_called_off and sequence not in outcomes:
            outcomes[sequence] = execution.fail(member.delivery, error)
        outcomes[sequence] = member.decide(outcomes) or Released()


async def _wait_for(task: asyncio.Task[Any]) -> tuple[bool, asyncio.CancelledError]:
    """Return whether a task was cancelled, and as what; raise if whoever waits was, too."""
    current = asyncio.current_task()
    before = 0 if current is None else current.cancelling()
    try:
        await task
    except asyncio.CancelledError as error:
        if current is not None and current.cancelling() > before:
            raise
        return True, error
    if current is not None and current.cancelling() > before:
        raise asyncio.CancelledError
    return False, asyncio.CancelledError()


@contextmanager
def _cancellable(client: MemoryClient, runs: Sequence[Run]) -> Generator[None]:
    loop = asyncio.get_running_loop()
    run_of = {(run.delivery.queue, run.delivery.job_id): run for run in runs}

    def cancel(queue: str, job_id: str) -> None:
        run = run_of.get((queue, job_id))
        if run is not None:
            # The call may come from the thread of an application.
            loop.call_soon_threadsafe(run.call_off)

    client.cancel_listeners.append(cancel)
    try:
        yield
    finally:
        client.cancel_listeners.remove(cancel)
        for run in runs:
            run.is_ended = True
