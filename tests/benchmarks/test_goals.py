"""Which promises a run is said to have shown."""

from __future__ import annotations

import pytest

from benchmarks.goals import GOALS, Outcome, evaluate
from benchmarks.results import Failure, Report
from benchmarks.workloads import WORKLOADS
from tests.benchmarks.reports import SIDES, make_figure, make_report


def find_outcome(text: str, report: Report) -> Outcome:
    """Of the only goal whose text begins so."""
    (outcome,) = (o for o in evaluate(report, SIDES) if o.goal.text.startswith(text))
    return outcome


def test_a_run_without_figures_has_shown_nothing() -> None:
    outcomes = evaluate(make_report(), SIDES)

    assert [outcome.goal for outcome in outcomes] == list(GOALS)
    assert {outcome.status for outcome in outcomes} == {"not measured"}


def test_drain_is_held_to_the_best_peer_that_delivers_at_least_once() -> None:
    report = make_report(
        make_figure("drain-noop", "jobs_per_second", "ours", 45_000),
        make_figure("drain-noop", "jobs_per_second", "limit", 90_000),
        make_figure("drain-noop", "jobs_per_second", "careless", 9_000),
        make_figure("drain-noop", "jobs_per_second", "steady", 3_000),
    )

    outcome = find_outcome("No-op jobs in one process", report)

    assert outcome.status == "met"
    assert outcome.measured == "15.0 times steady (15.0 to 15.0): 45,000 against 3,000"


def test_publishing_is_held_to_the_best_peer_of_all() -> None:
    report = make_report(
        make_figure("publish-callers", "jobs_per_second", "ours", 40_000),
        make_figure("publish-callers", "jobs_per_second", "limit", 90_000),
        make_figure("publish-callers", "jobs_per_second", "careless", 10_000),
        make_figure("publish-callers", "jobs_per_second", "steady", 3_000),
    )

    outcome = find_outcome("Publish from 100 callers", report)

    assert (outcome.status, outcome.missed_by) == ("missed", "20 %")
    assert outcome.measured.startswith("4.00 times careless")


def test_latency_is_held_to_the_peer_with_the_lowest_one() -> None:
    report = make_report(
        make_figure("latency-idle", "p50", "ours", 0.9),
        make_figure("latency-idle", "p50", "steady", 1.0),
        make_figure("latency-idle", "p50", "careless", 5.0),
    )

    outcome = find_outcome("From publish to start, idle pool, p50", report)

    assert (outcome.status, outcome.missed_by) == ("missed", "20 %")
    assert outcome.measured.startswith("0.900 times steady")


def test_a_goal_relative_to_peers_is_not_measured_without_them() -> None:
    report = make_report(make_figure("drain-noop", "jobs_per_second", "ours", 45_000))

    outcome = find_outcome("No-op jobs in one process", report)

    assert outcome.status == "not measured"
    assert outcome.measured == "the best peer that delivers at least once was not measured"


def test_the_cost_of_dependencies_is_what_they_add() -> None:
    report = make_report(
        make_figure("drain-depends", "cpu", "ours", 50),
        make_figure("drain-noop", "cpu", "ours", 20),
    )

    outcome = find_outcome("Two dependencies", report)

    assert (outcome.status, outcome.missed_by) == ("missed", "20 %")
    assert outcome.measured == "30.0 µs (50.0 - 20.0)"


def test_redis_pays_for_publishing_too() -> None:
    report = make_report(
        make_figure("drain-noop", "redis_cpu", "ours", 5),
        make_figure("publish-bulk", "redis_cpu", "ours", 4),
    )

    outcome = find_outcome("CPU of Redis", report)

    assert (outcome.status, outcome.missed_by) == ("missed", "12 %")
    assert outcome.measured == "9.00 µs (4.00 + 5.00)"


def test_an_idle_process_is_judged_by_its_worst_case() -> None:
    report = make_report(
        make_figure("idle-1", "idle_calls", "ours", 0.5),
        make_figure("idle-50", "idle_calls", "ours", 2),
    )

    outcome = find_outcome("An idle process", report)

    assert (outcome.status, outcome.missed_by) == ("missed", "100 %")
    assert outcome.measured == "2.00 in idle-50"


def test_scripts_are_judged_wherever_they_were_measured() -> None:
    report = make_report(
        make_figure("drain-noop", "script_p99", "ours", 1),
        make_figure("delayed-burst", "script_p99", "ours", 6),
        make_figure("drain-noop", "script_p99", "steady", 99),
    )

    outcome = find_outcome("A script occupies Redis", report)

    assert (outcome.status, outcome.measured) == ("missed", "6.00 ms in delayed-burst")


@pytest.mark.parametrize(("largest", "status"), [(90, "met"), (80, "missed")])
def test_throughput_must_not_depend_on_the_backlog(largest: float, status: str) -> None:
    report = make_report(
        make_figure("backlog-1k", "jobs_per_second", "ours", 100),
        make_figure("backlog-100k", "jobs_per_second", "ours", 95),
        make_figure("backlog-1m", "jobs_per_second", "ours", largest),
    )

    assert find_outcome("A backlog", report).status == status


@pytest.mark.parametrize(("left", "status"), [(0.3, "met"), (-2, "met"), (1.2, "missed")])
def test_less_than_a_byte_of_a_job_is_noise(left: float, status: str) -> None:
    report = make_report(make_figure("memory", "retained_bytes", "ours", left))

    assert find_outcome("Redis memory of a job after", report).status == status


def test_a_goal_that_failed_to_be_measured_says_why() -> None:
    failure = Failure(side="ours", workload="sleep", reason="it was too slow")

    outcome = find_outcome("2,000 jobs of 100 ms", make_report(failures=(failure,)))

    assert outcome.measured == "sleep failed: it was too slow"


def test_every_goal_can_be_measured() -> None:
    report = make_report(
        *(
            make_figure(workload.name, metric, side, 1.0)
            for workload in WORKLOADS.values()
            for metric in (*workload.metrics, "script_p99")
            for side in SIDES
        )
    )

    assert {outcome.status for outcome in evaluate(report, SIDES)} == {"met", "missed"}
