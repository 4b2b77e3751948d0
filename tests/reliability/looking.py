"""Waiting for what Redis knows of jobs, also while Redis is away."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from redispatcher_fastapi import BaseConsumer, BrokerError, Job, JobRecord, JobState, Redispatcher
from tests.reliability.oracle import PATIENCE
from tests.waiting import wait_until


async def wait_for_count(
    dispatcher: Redispatcher,
    consumer: type[BaseConsumer],
    state: JobState,
    count: int,
    *,
    timeout: timedelta = PATIENCE,
) -> None:
    """Return once exactly so many jobs of a consumer are in a state."""
    seen: dict[JobState, int] = {}

    async def holds() -> bool:
        nonlocal seen
        try:
            seen = await dispatcher.inspector.counts(consumer.QUEUE)
        except BrokerError:
            return False
        return seen[state] == count

    try:
        await wait_until(holds, timeout=timeout)
    except AssertionError:
        raise AssertionError(
            f"{count} {state} jobs expected, these were seen last: {seen}"
        ) from None


async def wait_for_state(job: Job[Any], state: JobState, *, timeout: timedelta = PATIENCE) -> None:
    """Return once a job is in a state."""

    async def holds() -> bool:
        try:
            return await job.state() is state
        except BrokerError:
            return False

    await wait_until(holds, timeout=timeout)


async def read_record(job: Job[Any]) -> JobRecord:
    """Return the record of a job that must have one."""
    record = await job.info()
    assert record is not None, f"{job} has no record"
    return record


async def read_states(jobs: Iterable[Job[Any]]) -> set[JobState | None]:
    """Return the different states that jobs are in."""
    return {await job.state() for job in jobs}
