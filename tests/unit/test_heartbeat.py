"""How soon a renewal that failed is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.pool.heartbeat import retry_delay

RENEWALS_PER_LEASE = 3


@pytest.mark.parametrize("seconds", [1, 2, 6, 30, 600])
@pytest.mark.parametrize("failures", [0, 3, 6, 50])
def test_an_outage_too_short_for_grace_costs_no_lease(seconds: int, failures: int) -> None:
    lease = timedelta(seconds=seconds)
    interval = lease / RENEWALS_PER_LEASE
    longest_without_grace = lease / 2

    for _ in range(100):
        delay = retry_delay(failures, interval)

        assert interval + longest_without_grace + delay < lease


def test_the_first_repetitions_come_at_once() -> None:
    assert retry_delay(0, timedelta(seconds=10)) <= timedelta(milliseconds=50)
