"""A pool that was frozen for longer than its lease, and comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import JobState, Redispatcher
from tests.reliability.jobs import Blocking, Quick, Slow, Timed
from tests.reliability.looking import wait_for_state
from tests.reliability.oracle import PATIENCE, Oracle
from tests.reliability.processes import Pools
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]


async def test_the_result_of_a_zombie_is_refused_and_reported(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    zombie = await pools.start(server.dsn, Blocking)
    # Nothing can cancel it before it has a result.
    message = Timed.Message(seconds=2, only_in=zombie.pid)
    job = await dispatcher.publisher(Blocking).publish(message)
    await oracle.wait_for("started", job.id, pid=zombie.pid)
    zombie.pause()
    heir = await pools.start(server.dsn, Blocking)
    await oracle.wait_for("started", job.id, pid=heir.pid)
    await wait_for_state(job, JobState.SUCCEEDED)

    zombie.resume()

    await oracle.wait_for("finished", job.id, pid=zombie.pid)
    await zombie.wait_for_log("was refused: another process has taken it over")
    assert [event["job_id"] for event in zombie.events("job.refused")] == [job.id]
    assert {event["level"] for event in zombie.events("job.refused")} == {"error"}
    assert heir.events("job.refused") == []
    assert await job.result(PATIENCE) == heir.pid
    assert len(oracle.entries("started", job.id)) == 2


async def test_a_zombie_cancels_what_others_run_now_and_takes_new_jobs_under_a_new_identity(
    server: RedisServer, oracle: Oracle, pools: Pools, dispatcher: Redispatcher
) -> None:
    zombie = await pools.start(server.dsn, Slow, Quick)
    message = Timed.Message(seconds=60, only_in=zombie.pid)
    job = await dispatcher.publisher(Slow).publish(message)
    await oracle.wait_for("started", job.id, pid=zombie.pid)
    zombie.pause()
    heir = await pools.start(server.dsn, Slow)
    assert await job.result(PATIENCE) == heir.pid

    zombie.resume()

    await oracle.wait_for("cancelled", job.id, pid=zombie.pid)
    await zombie.wait_for_log("This process was given up on queue slow")
    assert oracle.entries("finished", job.id, pid=zombie.pid) == []
    assert await run_quick(dispatcher) == zombie.pid


async def run_quick(dispatcher: Redispatcher) -> Any:
    job = await dispatcher.publisher(Quick).publish(Quick.Message())
    return await job.result(timedelta(seconds=20))
