"""How many jobs a second: run, published, waited for."""

from __future__ import annotations

from statistics import median

import numpy as np

from benchmarks import jobs
from benchmarks.measuring.round import Figures, Round
from benchmarks.stage import Stage, Workers


def measure_drain(
    round: Round, *, kind: str = "noop", processes: int = 1, queues: int = 1
) -> Figures:
    """Queue jobs, start workers, and look from the first job to the last."""
    seconds = (1.5 if round.side.baseline else 2.5) * processes  # others start later than the first
    count = round.jobs(seconds)
    if round.mode == "full" and round.side.pace > 500:
        count = max(count, 20_000)
    with Stage(round.side, round.environment, kind=kind, jobs=count, queues=queues) as stage:
        stage.produce("fill", count=count)
        stage.server.forget_scripts()
        with stage.workers(processes) as workers:
            return _drain(stage, workers, count)


def _drain(stage: Stage, workers: Workers, count: int) -> Figures:
    stage.wait_until_started(1, workers, seconds=60)
    before = stage.spent(workers)
    seconds = 30 + 5 * count / stage.side.pace
    stage.wait_until_started(count, workers, seconds=seconds)
    after = stage.spent(workers)
    jobs_between = max(1, after.started - before.started)
    elapsed = float(stage.started.max() - stage.started.min())
    figures = {
        "jobs_per_second": (count - 1) / elapsed,
        "cpu": 1e6 * (after.workers - before.workers) / jobs_between,
        "redis_cpu": 1e6 * (after.redis - before.redis) / jobs_between,
        "redis_calls": (after.reads - before.reads) / jobs_between,
    }
    slowest = stage.server.script_p99()
    if slowest is not None and stage.side.baseline:
        figures["script_p99"] = slowest
    return Figures(figures)


def measure_backlog(round: Round, *, backlog: int) -> Figures:
    """Drain the same number of jobs off queues of different length."""
    measured = min(backlog, round.jobs(1.0))
    repeats = 3 if measured < round.side.pace / 10 else 1  # one short moment says little
    rate = median(_drain_first(round, backlog, measured) for _ in range(repeats))
    return Figures({"jobs_per_second": rate}, detail=f"the first {measured:,} jobs")


def _drain_first(round: Round, backlog: int, measured: int) -> float:
    with Stage(round.side, round.environment, jobs=backlog) as stage:
        stage.produce("fill", count=backlog)
        with stage.workers() as workers:
            seconds = 60 + 5 * measured / round.side.pace
            stage.wait_until_started(measured, workers, seconds=seconds)
        started = np.sort(stage.started[stage.started > 0])[:measured]
    return (measured - 1) / float(started[-1] - started[0])


def measure_publish(round: Round, *, command: str) -> Figures:
    """Publish with no worker about."""
    paces = {"sequential": min(round.side.publish_pace // 3, 8_000), "bulk": 90_000}
    count = round.jobs(1.0, pace=paces.get(command, round.side.publish_pace))
    with Stage(round.side, round.environment, jobs=count) as stage:
        stage.produce("fill", count=100)
        stage.server.forget_scripts()
        redis = stage.server.cpu_seconds()
        produced = stage.produce(command, count=count)
        redis = stage.server.cpu_seconds() - redis
        figures = {
            "jobs_per_second": produced.jobs_per_second,
            "cpu": 1e6 * produced.cpu / count,
            "redis_cpu": 1e6 * redis / count,
        }
        slowest = stage.server.script_p99()
        if slowest is not None and stage.side.baseline:
            figures["script_p99"] = slowest
        return Figures(figures)


def measure_sleep(round: Round) -> Figures:
    """Twenty times as many jobs as slots; ideal is that no slot is ever empty in between."""
    count, slots = 2_000, 100
    with Stage(round.side, round.environment, kind="sleep", jobs=count, slots=slots) as stage:
        stage.produce("fill", count=count)
        with stage.workers() as workers:
            stage.wait_until_started(count, workers, seconds=60)
        # They are recorded at their end: the first one began a sleep before.
        elapsed = float(stage.started.max() - stage.started.min()) + jobs.SLEEP
    ideal = count / slots * jobs.SLEEP
    return Figures({"share_of_ideal": 100 * ideal / elapsed, "jobs_per_second": count / elapsed})


def measure_threads(round: Round) -> Figures:
    """Sync jobs that block a thread each."""
    count = round.jobs(2.0, most=10_000)
    with Stage(round.side, round.environment, kind="thread", jobs=count) as stage:
        stage.produce("fill", count=count)
        with stage.workers() as workers:
            stage.wait_until_started(count, workers, seconds=60 + 5 * count / round.side.pace)
        elapsed = float(stage.started.max() - stage.started.min()) + jobs.THREAD
    return Figures({"jobs_per_second": count / elapsed})
