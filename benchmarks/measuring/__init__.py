"""How each workload is measured: the figures of one round of one side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.measuring.costs import measure_idle, measure_memory
from benchmarks.measuring.endpoint import measure_endpoint
from benchmarks.measuring.latency import (
    measure_burst,
    measure_delayed,
    measure_latency,
    measure_loaded_latency,
)
from benchmarks.measuring.round import Figures, Round
from benchmarks.measuring.throughput import (
    measure_backlog,
    measure_drain,
    measure_publish,
    measure_sleep,
    measure_threads,
)

__all__ = ["MEASUREMENTS", "Figures", "Round"]

MEASUREMENTS: Mapping[str, Callable[[Round], Figures]] = {
    "drain-noop": measure_drain,
    "drain-large": partial(measure_drain, kind="large"),
    "drain-depends": partial(measure_drain, kind="depends"),
    "drain-result": partial(measure_drain, kind="result"),
    "drain-two": partial(measure_drain, processes=2),
    "publish-one": partial(measure_publish, command="sequential"),
    "publish-callers": partial(measure_publish, command="concurrent"),
    "publish-bulk": partial(measure_publish, command="bulk"),
    "sleep": measure_sleep,
    "threads": measure_threads,
    "latency-idle": measure_latency,
    "latency-loaded": measure_loaded_latency,
    "delayed": measure_delayed,
    "delayed-burst": measure_burst,
    "backlog-1k": partial(measure_backlog, backlog=1_000),
    "backlog-100k": partial(measure_backlog, backlog=100_000),
    "backlog-1m": partial(measure_backlog, backlog=1_000_000),
    "queues-10": partial(measure_drain, queues=10),
    "queues-100": partial(measure_drain, queues=100),
    "idle-1": partial(measure_idle, queues=1),
    "idle-50": partial(measure_idle, queues=50),
    "memory": measure_memory,
    "endpoint": measure_endpoint,
}
"""By workload."""
