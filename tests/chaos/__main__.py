"""``make chaos``: the long tier, with seeds that nobody has seen before, and what it measured.

Ends with 1 when a promise was broken. A seed that broke one is printed, and belongs into
:mod:`tests.chaos.seeds`.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.drive import LEASE
from tests.chaos.driving import Plan, drive
from tests.chaos.profiles import ALONE
from tests.chaos.report import Report
from tests.chaos.results import Results, redis_version, summarize
from tests.chaos.seeds import BROKE_ONCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many mixed runs")
    parser.add_argument("--jobs", type=int, default=5_000, help="jobs of each mixed run")
    parser.add_argument("--first-seed", type=int, help="the first seed; the others follow it")
    parser.add_argument("--at-once", type=int, default=1, help="runs that share the machine")
    parser.add_argument("--out", type=Path, help="where all reports are written to, as JSON")
    options = parser.parse_args()
    first = options.first_seed or random.SystemRandom().randrange(1, 1_000_000_000)
    seeds = [*BROKE_ONCE, *range(first, first + options.seeds)]
    plans = [
        *(Plan("mixed", seed, jobs=options.jobs) for seed in seeds),
        *(Plan("restarts", first + number) for number in range(2)),
    ]
    _say(f"{options.seeds} mixed runs of {options.jobs} jobs from seed {first} on")
    reports: list[Report] = []
    for start in range(0, len(plans), options.at_once):
        for report in asyncio.run(
            drive(plans[start : start + options.at_once], at_once=options.at_once)
        ):
            _say(report.describe())
            reports.append(report)
    alone = asyncio.run(drive([Plan(name, first) for name in ALONE], at_once=3))
    for report in alone:
        _say(report.describe())
    reports += alone
    _say(summarize(reports, LEASE.total_seconds()))
    if options.out is not None:
        Results(
            date=datetime.now(UTC).date().isoformat(),
            python=platform.python_version(),
            redis=redis_version(),
            lease=LEASE.total_seconds(),
            reports=reports,
        ).write(options.out)
    if any(report.violations for report in reports):
        sys.exit(1)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # its output is its purpose


if __name__ == "__main__":
    main()
