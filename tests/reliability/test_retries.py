"""What is charged as an attempt, and what is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from redispatcher_fastapi import JobFailedError, JobState, Redispatcher
from tests.reliability.jobs import (
    OVERDUE_AFTER,
    RETRY_WAIT,
    SNOOZE_WAIT,
    Failing,
    Overdue,
    Snoozing,
)
from tests.reliability.looking import read_record, wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import PoolProcess, Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ROUNDING = 0.002


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> RedisServer:
    with redis_server.client() as client:
        client.execute_command("FLUSHALL")
    return redis_server


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(tmp_path_factory.mktemp("retries") / "oracle")


@pytest.fixture(scope="module")
def pool(server: RedisServer, oracle: Oracle) -> Iterator[PoolProcess]:
    """One process for all tests of this module."""
    with Pools(oracle.path.parent, oracle) as pools:
        yield pools.begin(server.dsn, Failing, Overdue, Snoozing)


async def test_failures_are_retried_after_their_back_off_until_the_attempts_are_used_up(
    oracle: Oracle, pool: PoolProcess, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Failing).publish(Failing.Message(errors=["value"] * 5))

    with pytest.raises(JobFailedError, match="ValueError: no"):
        await job.result(PATIENCE)

    starts = oracle.entries("started", job.id)
    assert [start.attempt for start in starts] == [1, 2, 3]
    for earlier, later in pairwise(starts):
        assert later.at - earlier.at >= RETRY_WAIT.total_seconds() - ROUNDING


async def test_a_dead_job_that_is_redriven_runs_with_its_attempts_counted_anew(
    oracle: Oracle, pool: PoolProcess, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Failing).publish(Failing.Message(errors=["reject"]))
    await wait_for_state(job, JobState.DEAD)

    assert await dispatcher.inspector.redrive("failing", job.id)

    await oracle.wait_for("started", job.id, count=2)
    await wait_for_state(job, JobState.DEAD)
    assert [entry.attempt for entry in oracle.entries("started", job.id)] == [1, 1]
    assert [attempt.outcome for attempt in (await read_record(job)).history] == ["rejected"] * 2


async def test_a_run_that_exceeds_its_timeout_is_cancelled_and_charged(
    oracle: Oracle, pool: PoolProcess, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Overdue).publish(Overdue.Message())

    with pytest.raises(JobFailedError, match="ran longer than"):
        await job.result(PATIENCE)

    starts, ends = oracle.entries("started", job.id), oracle.entries("cancelled", job.id)
    assert [start.attempt for start in starts] == [1, 2]
    for start, end in zip(starts, ends, strict=True):
        assert OVERDUE_AFTER.total_seconds() - ROUNDING <= end.at - start.at
    assert (await read_record(job)).attempts == 2


async def test_a_snooze_is_not_charged(
    oracle: Oracle, pool: PoolProcess, dispatcher: Redispatcher
) -> None:
    message = Snoozing.Message(until=time.monotonic() + 4 * SNOOZE_WAIT.total_seconds())
    job = await dispatcher.publisher(Snoozing).publish(message)

    assert await job.result(PATIENCE) == 1

    starts = oracle.entries("started", job.id)
    assert {start.attempt for start in starts} == {1}
    assert len(starts) >= 2
    for earlier, later in pairwise(starts):
        assert later.at - earlier.at >= SNOOZE_WAIT.total_seconds() - ROUNDING


async def test_a_rejected_job_is_dead_after_one_start(
    oracle: Oracle, pool: PoolProcess, dispatcher: Redispatcher
) -> None:
    job = await dispatcher.publisher(Failing).publish(Failing.Message(errors=["reject"]))

    with pytest.raises(JobFailedError, match="bad account") as caught:
        await job.result(PATIENCE)

    assert caught.value.reason == "rejected"
    assert len(oracle.entries("started", job.id)) == 1
