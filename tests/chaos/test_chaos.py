"""The quick tier: each fault by itself, all of them mixed, and the controls that must fail.

A failing run names its profile and its seed: ``python -m tests.chaos.drive PROFILE --seed SEED
--keep FOLDER`` repeats it and keeps what everybody logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.chaos.driving import Plan, drive
from tests.chaos.profiles import ALONE
from tests.chaos.report import Report

pytestmark = [pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(400)]

_AT_ONCE = 4
_SEED = 20261129

#: What is taken away, in which run that must show, and which promises one of which must be broken.
CONTROLS: Mapping[str, tuple[str, set[str]]] = {
    "fence": ("stop", {"ends-once", "refuses-zombies"}),
    "dedupe": ("cut-replies", {"publishes-once"}),
    "renewal": ("long", {"keeps-leases"}),
    "outage-grace": ("redis-away", {"keeps-leases"}),
    "isolation": ("crash", {"spares-innocents"}),
    "shutdown-grace": ("term", {"finishes-in-grace"}),
    "slots": ("script-flush", {"keeps-limits"}),
}


@pytest.fixture(scope="module")
def reports() -> Mapping[Plan, Report]:
    """What came of all runs; done together, as most of their time is waiting for leases."""
    plans = [
        *(Plan(name, _SEED) for name in ALONE),
        *(Plan(profile, _SEED, without=name) for name, (profile, _) in CONTROLS.items()),
        Plan("redis-kill-without-file", _SEED),
    ]
    return dict(zip(plans, asyncio.run(drive(plans, at_once=_AT_ONCE)), strict=True))


@pytest.mark.parametrize("name", ALONE)
def test_no_promise_is_broken_by_a_fault_alone(reports: Mapping[Plan, Report], name: str) -> None:
    report = reports[Plan(name, _SEED)]

    assert not report.violations, report.describe()
    assert report.published > 100


@pytest.mark.parametrize("name", CONTROLS)
def test_without_its_protection_a_promise_is_broken(
    reports: Mapping[Plan, Report], name: str
) -> None:
    profile, promises = CONTROLS[name]
    report = reports[Plan(profile, _SEED, without=name)]

    assert report.broken & promises, report.describe()


def test_without_an_append_only_file_jobs_are_lost(reports: Mapping[Plan, Report]) -> None:
    report = reports[Plan("redis-kill-without-file", _SEED)]

    assert "loses-nothing" in report.broken, report.describe()


def test_no_promise_is_broken_by_all_faults_together() -> None:
    (report,) = asyncio.run(drive([Plan("mixed", _SEED)], at_once=1))

    assert not report.violations, report.describe()
    assert report.published > 9_000
    assert len(report.faults) > 5
