"""What this library promises about its speed, and whether a run has shown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.measures import Bytes, Difference, Measure, Ratio, Sum, Unevenness, Value, Worst
from benchmarks.results import Report
from benchmarks.sides import Side
from benchmarks.wording import show_share

Status = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A measure and its bound."""

    text: str
    measure: Measure
    bound: float
    kind: Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Outcome:
    goal: Goal
    status: Status
    measured: str
    """The figure with what it was compared with, or why there is none."""
    missed_by: str = ""


def evaluate(report: Report, sides: Mapping[str, Side]) -> list[Outcome]:
    """Every goal, in the order of the promises."""
    return [_evaluate_one(goal, report, sides) for goal in GOALS]


def _evaluate_one(goal: Goal, report: Report, sides: Mapping[str, Side]) -> Outcome:
    reading = goal.measure.read(report, sides)
    if reading.value is None:
        return Outcome(goal, "not measured", reading.shown)
    if goal.kind == "at least":
        is_met, distance = reading.value >= goal.bound, goal.bound - reading.value
    else:
        is_met, distance = reading.value <= goal.bound, reading.value - goal.bound
    if is_met:
        return Outcome(goal, "met", reading.shown)
    missed_by = show_share(distance / goal.bound) if goal.bound else reading.shown
    return Outcome(goal, "missed", reading.shown, missed_by)


GOALS = (
    Goal(
        "No-op jobs in one process: at least 15 times the best peer that delivers at least once",
        Ratio("drain-noop", "jobs_per_second", to="the best peer that delivers at least once"),
        15,
        "at least",
    ),
    Goal(
        "The same: at least 50 % of the hand-written limit",
        Ratio("drain-noop", "jobs_per_second", to="limit"),
        0.5,
        "at least",
    ),
    Goal(
        "CPU of the worker for a no-op job: at most 25 µs",
        Value("drain-noop", "cpu"),
        25,
        "at most",
    ),
    Goal(
        "CPU of Redis for a job, published in bulk, claimed and acknowledged: at most 8 µs",
        Sum(("publish-bulk", "drain-noop"), "redis_cpu"),
        8,
        "at most",
    ),
    Goal(
        "Requests to Redis per job under load: at most 0.05",
        Value("drain-noop", "redis_calls"),
        0.05,
        "at most",
    ),
    Goal(
        "Publish one at a time: at least 0.9 times a bare command of redis-py",
        Ratio("publish-one", "jobs_per_second", to="limit"),
        0.9,
        "at least",
    ),
    Goal(
        "The same: at least 1.1 times the best peer",
        Ratio("publish-one", "jobs_per_second", to="the best peer"),
        1.1,
        "at least",
    ),
    Goal(
        "Publish from 100 callers at once: at least 5 times the best peer",
        Ratio("publish-callers", "jobs_per_second", to="the best peer"),
        5,
        "at least",
    ),
    Goal(
        "Publish in bulk: at least 60 % of the hand-written limit",
        Ratio("publish-bulk", "jobs_per_second", to="limit"),
        0.6,
        "at least",
    ),
    Goal(
        "2,000 jobs of 100 ms on 100 slots: at least 98 % of the ideal",
        Value("sleep", "share_of_ideal"),
        98,
        "at least",
    ),
    Goal(
        "From publish to start, idle pool, p50: at most 0.75 times the best peer's",
        Ratio("latency-idle", "p50", to="the best peer"),
        0.75,
        "at most",
    ),
    Goal(
        "The same, p99: at most the best peer's",
        Ratio("latency-idle", "p99", to="the best peer"),
        1,
        "at most",
    ),
    Goal(
        "A delayed job on an idle pool: at most 20 ms late at p99",
        Value("delayed", "late_p99"),
        20,
        "at most",
    ),
    Goal(
        "50,000 jobs due in the same second: all started within 2 s",
        Value("delayed-burst", "burst_seconds"),
        2,
        "at most",
    ),
    Goal(
        "An idle process, any number of queues: at most 1 request to Redis per second",
        Worst(("idle-1", "idle-50"), "idle_calls"),
        1,
        "at most",
    ),
    Goal(
        "The same: at most 0.2 % of a core",
        Worst(("idle-1", "idle-50"), "idle_cpu"),
        0.2,
        "at most",
    ),
    Goal(
        "Redis memory of a queued job: at most 190 bytes",
        Bytes("memory", "queued_bytes"),
        190,
        "at most",
    ),
    Goal(
        "Redis memory of a finished job whose record is kept: at most 130 bytes",
        Bytes("memory", "finished_bytes"),
        130,
        "at most",
    ),
    Goal(
        "Redis memory of a job after its retention: nothing",
        Bytes("memory", "retained_bytes"),
        0,
        "at most",
    ),
    Goal(
        "A backlog of 1,000, 100,000 or 1,000,000 jobs: throughput within 15 % of each other",
        Unevenness(("backlog-1k", "backlog-100k", "backlog-1m"), "jobs_per_second"),
        0.15,
        "at most",
    ),
    Goal(
        "Two dependencies: at most 25 µs of CPU more per job",
        Difference("drain-depends", "drain-noop", "cpu"),
        25,
        "at most",
    ),
    Goal(
        "An endpoint that publishes: at least 75 % of the requests/s of one that does not",
        Value("endpoint", "share_of_plain"),
        75,
        "at least",
    ),
    Goal(
        "A script occupies Redis for at most 5 ms at p99",
        Worst((), "script_p99"),
        5,
        "at most",
    ),
)
