"""``make chaos``: the long tier, with seeds that nobody has seen before, and what it measured.

Ends with 1 when a promise was broken. A seed that broke one is printed, and belongs into
:mod:`tests.chaos.seeds`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.drive import LEASE
from tests.chaos.driving import Plan, drive
from tests.chaos.profiles import ALONE
from tests.chaos.report import Report, percentile
from tests.chaos.seeds import BROKE_ONCE

_GOAL_P50 = 0.5
_GOAL_P99 = 2.0


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
    _say(_summarize(reports))
    if options.out is not None:
        options.out.write_text(
            json.dumps(
                {
                    "date": datetime.now(UTC).date().isoformat(),
                    "python": platform.python_version(),
                    "first_seed": first,
                    "lease": LEASE.total_seconds(),
                    "reports": [asdict(report) for report in reports],
                },
                indent=1,
            )
        )
    if any(report.violations for report in reports):
        sys.exit(1)


def _summarize(reports: Sequence[Report]) -> str:
    gaps = [
        gap for report in reports if report.profile == "restarts" for gap in report.gaps_after_kill
    ]
    lease = LEASE.total_seconds()
    late50, late99 = (percentile(gaps, share) - lease for share in (0.5, 0.99))
    broken = sorted({(report.profile, report.seed) for report in reports if report.violations})
    return "\n".join(
        (
            f"{len(reports)} runs, {sum(each.published for each in reports)} jobs, "
            f"{sum(sum(each.faults.values()) for each in reports)} faults, "
            f"{sum(each.processes for each in reports)} processes",
            f"taken back {sum(each.taken_back for each in reports)}, "
            f"zombie results refused {sum(each.zombie_results_refused for each in reports)}, "
            f"repeated effects {sum(each.repeated_effects for each in reports)}, "
            f"most starts of a killer {max(each.most_starts_of_a_killer for each in reports)}",
            f"restart after a kill: {len(gaps)} samples, p50 lease {late50:+.2f} s "
            f"(goal +{_GOAL_P50}), p99 lease {late99:+.2f} s (goal +{_GOAL_P99})",
            f"broken: {broken or 'nothing'}",
        )
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # its output is its purpose


if __name__ == "__main__":
    main()
