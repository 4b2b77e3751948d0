"""What a worker costs that has nothing to do, and what jobs cost that lie in Redis."""

from __future__ import annotations

import time

from benchmarks.measuring.round import Figures, Round
from benchmarks.stage import Stage

#: Those that Stage.spent makes between its first look at them and its second.
_READS_OF_SPENT = 2


def measure_idle(round: Round, *, queues: int) -> Figures:
    """What a worker costs that has nothing to do."""
    seconds = 10.0 if round.is_thorough else 4.0
    with (
        Stage(round.side, round.environment, jobs=1_000, queues=queues) as stage,
        stage.workers() as workers,
    ):
        stage.warm_up(workers, count=max(20, queues))
        time.sleep(2)
        before, began = stage.spent(workers), time.monotonic()
        time.sleep(seconds)
        after, elapsed = stage.spent(workers), time.monotonic() - began
        resident = workers.resident()
    return Figures(
        {
            "idle_calls": max(0, after.reads - before.reads - _READS_OF_SPENT) / elapsed,
            "idle_cpu": 100 * (after.workers - before.workers) / elapsed,
            "resident": resident / 1e6,
        }
    )


def measure_memory(round: Round) -> Figures:
    """Bytes per job, against the same server when it is emptied afterwards."""
    count = round.jobs(3.0 if round.is_thorough else 1.0, most=10_000)
    with Stage(round.side, round.environment, jobs=count) as stage:
        stage.produce("fill", count=count)
        queued = stage.server.memory()
        with stage.workers() as workers:
            stage.wait_until_started(count, workers, seconds=60 + 5 * count / round.side.pace)
            time.sleep(1)  # the last ones are acknowledged
        finished = stage.server.memory()
        stage.server.client.flushall()
        empty = stage.server.memory()
    figures = {
        "queued_bytes": (queued - empty) / count,
        "finished_bytes": max(0.0, (finished - empty) / count),
    }
    if round.side.name == "ours":
        figures |= _ours_in_memory(round)
    return Figures(figures)


def _ours_in_memory(round: Round) -> Figures:
    """What only we know how to look at: jobs that run, and jobs whose time is over."""
    count = 1_000  # all of them run at once: as many slots as a consumer may have
    with Stage(
        round.side, round.environment, kind="sleep", jobs=count, slots=count, BENCH_RETENTION="2"
    ) as stage:
        stage.produce("fill", count=count)
        client = stage.server.client
        with stage.workers() as workers:
            stage.wait_for(lambda: not client.llen("rd:{bench-0}:ready"), workers, seconds=30)
            running = int(client.info("memory")["used_memory"])
            stage.wait_until_started(count, workers, seconds=60)
            stage.wait_for(lambda: client.hlen("rd:{bench-0}:jobs") == 0, workers, seconds=60)
            idle = int(client.info("memory")["used_memory"])  # with the buffers of the workers
        retained = stage.server.memory()
        client.flushall()
        empty = stage.server.memory()
    return Figures(
        {
            "running_bytes": (running - idle) / count,
            "retained_bytes": max(0.0, (retained - empty) / count),
        }
    )
