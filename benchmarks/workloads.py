"""What is measured: the workloads by name, and in which mode each is run.

quick: ours against the limit, in under 90 seconds. default: everything a reader of the report
needs, in less than half an hour. full: every workload with every side that can.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.results import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    name: str
    title: str
    """The heading in the report."""
    metrics: tuple[str, ...]
    """The first one decides who is faster."""
    needs: tuple[str, ...] = ()
    """Keys of ``Side.cannot`` that exclude a side."""
    modes: tuple[Mode, ...] = ("default", "full")
    peers: tuple[Mode, ...] = ("default", "full")
    """The modes in which peers take part; ours and the limit do in all of ``modes``."""
    rounds: int = 2
    peer_rounds: int = 1
    """Rounds of the default mode; see ``rounds_of``."""

    def rounds_of(self, mode: Mode, *, is_baseline: bool) -> int:
        """How often a side is measured: not at all where it takes no part."""
        if mode not in (self.modes if is_baseline else self.peers):
            return 0
        extra = 2 if mode == "full" else 0
        return (self.rounds if is_baseline else self.peer_rounds) + extra


_ALL: tuple[Mode, ...] = ("quick", "default", "full")
_DRAIN = ("jobs_per_second", "cpu", "redis_cpu", "redis_calls")
_PUBLISH = ("jobs_per_second", "cpu", "redis_cpu")
_LATENCY = ("p50", "p95", "p99")

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="drain-noop",
            title="Run jobs that do nothing",
            metrics=_DRAIN,
            needs=("noop",),
            modes=_ALL,
            rounds=3,
            peer_rounds=2,
        ),
        Workload(
            name="drain-large",
            title="The same, with 2 KB of text each",
            metrics=_DRAIN,
            needs=("large",),
            peers=("full",),
        ),
        Workload(
            name="drain-depends",
            title="The same, with two dependencies",
            metrics=_DRAIN,
            needs=("depends",),
        ),
        Workload(
            name="drain-result",
            title="The same, with a result that is kept",
            metrics=_DRAIN,
            needs=("result",),
            peers=("full",),
        ),
        Workload(
            name="drain-two",
            title="Run jobs that do nothing, in two processes",
            metrics=_DRAIN,
            needs=("noop", "processes"),
            peers=("full",),
        ),
        Workload(
            name="publish-one",
            title="Publish one job after another",
            metrics=_PUBLISH,
            needs=("noop", "publish"),
            modes=_ALL,
            rounds=5,
            peer_rounds=2,
        ),
        Workload(
            name="publish-callers",
            title="Publish from 100 callers at once",
            metrics=_PUBLISH,
            needs=("noop", "publish"),
            modes=_ALL,
            rounds=3,
            peer_rounds=2,
        ),
        Workload(
            name="publish-bulk",
            title="Publish 1,000 jobs at a time",
            metrics=_PUBLISH,
            needs=("noop", "publish", "bulk"),
            modes=_ALL,
            rounds=3,
            peer_rounds=2,
        ),
        Workload(
            name="sleep",
            title="2,000 jobs of 100 ms on 100 slots",
            metrics=("share_of_ideal", "jobs_per_second"),
            needs=("sleep",),
        ),
        Workload(
            name="threads",
            title="Sync jobs of 10 ms on 100 slots",
            metrics=("jobs_per_second",),
            rounds=1,
            needs=("thread",),
            peers=("full",),
        ),
        Workload(
            name="latency-idle",
            title="From publish to start, 50 jobs a second",
            metrics=_LATENCY,
            needs=("noop",),
        ),
        Workload(
            name="latency-loaded",
            title="From publish to start, at half of the side's own highest rate",
            metrics=_LATENCY,
            needs=("noop",),
            peers=("full",),
        ),
        Workload(
            name="delayed",
            title="Start of delayed jobs, 20 due a second",
            metrics=("late_p50", "late_p99"),
            needs=("noop", "delayed"),
        ),
        Workload(
            name="delayed-burst",
            title="50,000 jobs due in one second",
            metrics=("burst_seconds", "jobs_per_second"),
            needs=("noop", "delayed"),
            peers=("full",),
        ),
        Workload(
            name="backlog-1k",
            title="A backlog of 1,000 jobs",
            metrics=("jobs_per_second",),
            needs=("noop",),
            peers=("full",),
        ),
        Workload(
            name="backlog-100k",
            title="A backlog of 100,000 jobs",
            metrics=("jobs_per_second",),
            needs=("noop",),
            peers=("full",),
        ),
        Workload(
            name="backlog-1m",
            title="A backlog of 1,000,000 jobs",
            metrics=("jobs_per_second",),
            rounds=1,
            needs=("noop",),
            peers=(),
        ),
        Workload(
            name="queues-10",
            title="Jobs in 10 queues",
            metrics=_DRAIN,
            needs=("noop", "queues"),
            peers=("full",),
        ),
        Workload(
            name="queues-100",
            title="Jobs in 100 queues",
            metrics=_DRAIN,
            needs=("noop", "queues"),
            peers=("full",),
        ),
        Workload(
            name="idle-1",
            title="Nothing to do, one queue",
            metrics=("idle_calls", "idle_cpu", "resident"),
            rounds=1,
            needs=("noop",),
        ),
        Workload(
            name="idle-50",
            title="Nothing to do, 50 queues",
            metrics=("idle_calls", "idle_cpu", "resident"),
            rounds=1,
            needs=("noop", "queues"),
        ),
        Workload(
            name="memory",
            title="Memory of Redis",
            metrics=("queued_bytes", "running_bytes", "finished_bytes", "retained_bytes"),
            rounds=1,
            needs=("noop",),
        ),
        Workload(
            name="endpoint",
            title="An endpoint that publishes one job per request, 64 clients",
            metrics=("share_of_plain", "requests_per_second"),
            rounds=3,
            peer_rounds=2,
            needs=("endpoint",),
        ),
    )
}
