"""Who is said to be faster, and when nobody is."""

from __future__ import annotations

import pytest

from benchmarks.comparing import Ratio, explain_busy, find_ratio, find_winner
from tests.benchmarks.reports import make_figure, make_machine


def test_sides_measured_in_turns_are_compared_round_by_round() -> None:
    figure = make_figure("drain-noop", "cpu", "ours", 10, 40, 20)
    base = make_figure("drain-noop", "cpu", "steady", 5, 10, 10)

    assert find_ratio(figure, base) == Ratio(median=2, lowest=2, highest=4)


def test_sides_with_different_numbers_of_rounds_are_compared_by_their_medians() -> None:
    figure = make_figure("drain-noop", "cpu", "ours", 10, 20, 30)
    base = make_figure("drain-noop", "cpu", "steady", 5, 10)

    assert find_ratio(figure, base) == Ratio(median=20 / 7.5, lowest=1, highest=6)


def test_there_is_no_ratio_to_zero() -> None:
    figure = make_figure("memory", "retained_bytes", "ours", 1, 1)
    base = make_figure("memory", "retained_bytes", "steady", 0, 1)

    assert find_ratio(figure, base) is None


def test_the_side_that_is_better_by_more_than_the_rounds_differ_wins() -> None:
    fast = make_figure("drain-noop", "jobs_per_second", "ours", 100, 110)
    slow = make_figure("drain-noop", "jobs_per_second", "steady", 50, 55)

    verdict = find_winner([slow, fast], make_machine())

    assert (verdict.side, verdict.reason) == ("ours", "2.00 times as good as steady")


def test_where_less_is_better_the_lowest_wins() -> None:
    low = make_figure("memory", "queued_bytes", "ours", 100, 101)
    high = make_figure("memory", "queued_bytes", "steady", 300, 303)

    verdict = find_winner([high, low], make_machine())

    assert (verdict.side, verdict.reason) == ("ours", "3.00 times as good as steady")


def test_nobody_wins_if_the_rounds_differ_by_more_than_the_sides() -> None:
    best = make_figure("drain-noop", "jobs_per_second", "ours", 90, 130)
    second = make_figure("drain-noop", "jobs_per_second", "steady", 80, 90)

    verdict = find_winner([best, second], make_machine())

    assert verdict.side is None
    assert verdict.reason == "ours and steady differ by 25.0, their rounds by up to 40.0"


def test_nobody_wins_if_the_rounds_of_the_second_differ_by_more_than_the_sides() -> None:
    best = make_figure("drain-noop", "jobs_per_second", "ours", 110, 110)
    second = make_figure("drain-noop", "jobs_per_second", "steady", 80, 120)

    assert find_winner([best, second], make_machine()).side is None


def test_nobody_wins_in_a_single_round() -> None:
    best = make_figure("drain-noop", "jobs_per_second", "ours", 1000)
    second = make_figure("drain-noop", "jobs_per_second", "steady", 1)

    verdict = find_winner([best, second], make_machine())

    assert verdict.side is None
    assert "one round" in verdict.reason


def test_nobody_wins_alone() -> None:
    verdict = find_winner([make_figure("idle-1", "idle_cpu", "ours", 1, 1)], make_machine())

    assert (verdict.side, verdict.reason) == (None, "there is nobody to compare with")


def test_nobody_wins_on_a_busy_machine() -> None:
    best = make_figure("drain-noop", "jobs_per_second", "ours", 1000, 1000)
    second = make_figure("drain-noop", "jobs_per_second", "steady", 1, 1)

    verdict = find_winner([best, second], make_machine(busy=(0.0, 0.4)))

    assert verdict.side is None
    assert verdict.reason == "other programs used 20 % of the cores during the run"


@pytest.mark.parametrize(
    ("busy", "load_before", "is_busy"),
    [
        ((0.02, 0.1), 9.0, False),
        ((0.02, 0.3), 0.0, True),
        ((), 0.1, False),
        ((), 1.5, True),
    ],
)
def test_what_was_seen_between_the_rounds_counts_before_the_load(
    busy: tuple[float, ...], load_before: float, is_busy: bool
) -> None:
    reason = explain_busy(make_machine(busy=busy, load_before=load_before))

    assert (reason is not None) == is_busy
