"""How long until a job starts."""

from __future__ import annotations

import numpy as np

from benchmarks.measuring.round import Figures, Round
from benchmarks.stage import Stage


def measure_latency(round: Round) -> Figures:
    """50 jobs a second to a worker that has nothing else to do."""
    return _latency(round, rate=50, count=300 if round.is_thorough else 200)


def measure_loaded_latency(round: Round) -> Figures:
    """As many as half of what producer, Redis and worker can do together on this machine."""
    rate = max(20.0, 0.5 * _highest_rate(round))
    figures = _latency(round, rate=rate, count=max(200, min(100_000, int(3 * rate))))
    return Figures(figures, detail=f"{rate:,.0f} jobs/s")


def _highest_rate(round: Round) -> float:
    def find(workload: str, metric: str) -> float | None:
        figure = round.report.find(workload, metric, round.side.name)
        return figure.median if figure else None

    drain, publish = (
        find("drain-noop", "jobs_per_second"),
        find("publish-callers", "jobs_per_second"),
    )
    rates = [drain or round.side.pace, publish or round.side.publish_pace]
    costs = [
        find(workload, metric)
        for workload in ("drain-noop", "publish-callers")
        for metric in ("cpu", "redis_cpu")
    ]
    if all(cost is not None for cost in costs):
        rates.append(1e6 * round.report.machine.cores / sum(cost or 0.0 for cost in costs))
    return min(rates)


def _latency(round: Round, *, rate: float, count: int) -> Figures:
    with Stage(round.side, round.environment, jobs=count) as stage, stage.workers() as workers:
        stage.warm_up(workers)
        stage.produce("steady", count=count, rate=rate, seconds=count / rate)
        stage.wait_until_started(count, workers, seconds=60)
        waited = 1e3 * (stage.started - stage.published)
    return Figures({f"p{part}": float(np.percentile(waited, part)) for part in (50, 95, 99)})


def measure_delayed(round: Round) -> Figures:
    """How late single delayed jobs start; before its time counts as late by nothing."""
    count = 60
    with Stage(round.side, round.environment, jobs=count) as stage, stage.workers() as workers:
        stage.warm_up(workers)
        stage.produce("delayed", count=count, rate=20, delay=1)
        stage.wait_until_started(count, workers, seconds=60)
        late = 1e3 * np.maximum(stage.started - stage.published, 0.0)
    return Figures({f"late_p{part}": float(np.percentile(late, part)) for part in (50, 99)})


def measure_burst(round: Round) -> Figures:
    """Many jobs that fall due at once."""
    whole = 50_000
    count = whole if round.side.baseline else min(whole, round.jobs(8.0))
    delay = 3 + 2 * count / round.side.publish_pace
    with Stage(round.side, round.environment, jobs=count) as stage, stage.workers() as workers:
        stage.warm_up(workers)
        stage.produce("burst", count=count, delay=delay)
        seconds = 60 + delay + 5 * count / round.side.pace
        stage.wait_until_started(count, workers, seconds=seconds)
        took = float(stage.started.max() - stage.published.max())
    figures = {"jobs_per_second": count / max(took, 1e-3)}
    if count == whole:
        figures["burst_seconds"] = took
    return Figures(figures, detail=f"{count:,} jobs")
