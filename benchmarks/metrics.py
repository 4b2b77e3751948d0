"""The quantities that are measured: what they are called, their units, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    label: str
    """The head of a column."""
    unit: str
    """Figures in % are 98.5 rather than 0.985."""
    better: Literal["higher", "lower"]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("jobs_per_second", "jobs/s", "", "higher"),
        Metric("requests_per_second", "requests/s", "", "higher"),
        Metric("share_of_plain", "of the plain endpoint", "%", "higher"),
        Metric("share_of_ideal", "of the ideal", "%", "higher"),
        Metric("cpu", "CPU per job, all processes of the side", "µs", "lower"),
        Metric("redis_cpu", "CPU of Redis per job", "µs", "lower"),
        Metric("redis_calls", "requests to Redis per job", "", "lower"),
        Metric("p50", "p50", "ms", "lower"),
        Metric("p95", "p95", "ms", "lower"),
        Metric("p99", "p99", "ms", "lower"),
        Metric("late_p50", "late, p50", "ms", "lower"),
        Metric("late_p99", "late, p99", "ms", "lower"),
        Metric("burst_seconds", "until the last one started", "s", "lower"),
        Metric("idle_calls", "requests to Redis per second", "", "lower"),
        Metric("idle_cpu", "of one core", "%", "lower"),
        Metric("resident", "resident memory of one worker", "MB", "lower"),
        Metric("queued_bytes", "Redis memory per queued job", "bytes", "lower"),
        Metric("running_bytes", "Redis memory per running job", "bytes", "lower"),
        Metric("finished_bytes", "Redis memory per finished job", "bytes", "lower"),
        Metric("retained_bytes", "Redis memory per job after its retention", "bytes", "lower"),
        Metric("script_p99", "longest scripts, p99", "ms", "lower"),
    )
}
