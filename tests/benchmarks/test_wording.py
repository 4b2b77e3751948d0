"""How figures are written for people."""

from __future__ import annotations

import pytest

from benchmarks.wording import show_number, show_share, show_spread, show_value, write_table
from tests.benchmarks.reports import make_figure


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.2345, "1.23"),
        (9.999, "10.0"),
        (99.96, "100"),
        (123.4, "123"),
        (1_234.5, "1,234"),
        (1_000_000, "1,000,000"),
        (-3.21, "-3.21"),
    ],
)
def test_a_number_has_three_digits_or_all_before_the_point(value: float, shown: str) -> None:
    assert show_number(value) == shown


def test_a_value_has_the_unit_of_its_metric() -> None:
    assert show_value("p50", 1.5) == "1.50 ms"
    assert show_value("jobs_per_second", 1500) == "1,500"


@pytest.mark.parametrize(
    ("share", "shown"), [(0.123, "12 %"), (0.0123, "1.2 %"), (2, "200 %"), (0, "0.0 %")]
)
def test_a_share_is_shown_in_percent(share: float, shown: str) -> None:
    assert show_share(share) == shown


def test_the_spread_is_half_of_the_distance_between_the_rounds() -> None:
    assert show_spread(make_figure("drain-noop", "cpu", "ours", 90, 100, 110)) == "± 10 %"
    assert show_spread(make_figure("drain-noop", "cpu", "ours", 100)) == "one round"


def test_a_cell_cannot_break_its_table() -> None:
    table = write_table(("side", "n"), [("a|b", "1\n2")], numbers=1)

    assert table.splitlines() == ["| side | n |", "| --- | ---: |", r"| a\|b | 1 2 |"]
