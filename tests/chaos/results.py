"""The reports of many runs, what they come to, and the section of docs/guarantees.md about them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.chaos.report import Report, percentile
from tests.servers import find_redis_server

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
_BEGIN, _END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True, slots=True)
class Results:
    """What a long run measured, and where; ``lease`` is in seconds."""

    date: str
    python: str
    redis: str
    lease: float
    reports: list[Report]

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote."""
        values: dict[str, Any] = json.loads(path.read_text())
        values["reports"] = [Report.of(each) for each in values["reports"]]
        return cls(**values)


def redis_version() -> str:
    """Return the version of the server that the runs use."""
    program = find_redis_server()
    assert program is not None
    output = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"v=(\S+)", output.stdout)
    return found[1] if found else output.stdout.strip()


def summarize(reports: Sequence[Report], lease: float) -> str:
    """Return what all runs come to, goal by goal."""
    rows = _goals(reports, lease)
    broken = sorted({(report.profile, report.seed) for report in reports if report.violations})
    lines = [f"{name}: {measured} (goal {goal})" for name, goal, measured in rows]
    return "\n".join([*lines, f"broken: {broken or 'nothing'}"])


def render(results: Results) -> str:
    """Return the section as Markdown."""
    reports = results.reports
    mixed = [report for report in reports if report.profile == "mixed"]
    seeds = _name_seeds(sorted(report.seed for report in mixed))
    others = [report for report in reports if report.profile not in {"mixed", "restarts"}]
    lines = [
        "## What was seen",
        "",
        f"`make chaos` of {results.date}, Redis {results.redis}, CPython {results.python}, a lease "
        f"of {results.lease:g} s, all on one machine of two cores; the mixed runs had the seeds "
        f"{seeds}.",
        "",
        "| figure | goal | measured |",
        "|---|---|---|",
        *(
            f"| {name} | {goal} | {measured} |"
            for name, goal, measured in _goals(reports, results.lease)
        ),
        "",
        "Each fault alone, with the same invariants checked:",
        "",
        "| fault | done | jobs | taken back | results refused | repeated effects | broken |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {each.profile} | {sum(each.faults.values()) or '-'} | {each.published} | "
            f"{each.taken_back} | {each.zombie_results_refused} | {each.repeated_effects} | "
            f"{len(each.broken)} |"
            for each in others
        ),
    ]
    return "\n".join(lines)


def _name_seeds(seeds: Sequence[int]) -> str:
    """Return the seeds in words: mostly, they follow each other."""
    if len(seeds) > 1 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _goals(reports: Sequence[Report], lease: float) -> list[tuple[str, str, str]]:
    def broken(*promises: str) -> int:
        return sum(
            violation.promise in promises for each in reports for violation in each.violations
        )

    def alone(profile: str) -> list[Report]:
        return [report for report in reports if report.profile == profile]

    gaps = [gap for report in alone("restarts") for gap in report.gaps_after_kill]
    late50, late99 = (percentile(gaps, share) - lease for share in (0.5, 0.99))
    silences = [each for report in alone("half-open") for each in report.silences]
    restarts = [*alone("redis-kill"), *alone("redis-away")]
    term = alone("term")
    jobs, faults = (
        sum(report.published for report in reports),
        sum(sum(report.faults.values()) for report in reports),
    )
    crashes = sum(report.processes for report in reports)
    return [
        (
            "jobs, faults, processes",
            "-",
            f"{jobs:,}, {faults:,}, {crashes:,} in {len(reports)} runs",
        ),
        ("acknowledged jobs lost", "0", str(broken("loses-nothing", "ends-everything"))),
        (
            "results of zombies accepted; refused without a word",
            "0; 0",
            f"{broken('refuses-zombies', 'ends-once')}; {broken('reports-zombies')} "
            f"({sum(each.zombie_results_refused for each in reports)} refused)",
        ),
        (
            "restart after a kill",
            "p50 lease + 0.5 s, p99 lease + 2 s",
            f"p50 lease {late50:+.2f} s, p99 lease {late99:+.2f} s, n = {len(gaps)}",
        ),
        (
            "starts of a job that kills its process",
            "at most 5",
            str(max((each.most_starts_of_a_killer for each in reports), default=0)),
        ),
        ("innocent jobs dead beside it", "0", str(broken("spares-innocents"))),
        (
            "jobs of a publish whose reply was lost",
            "1",
            "1" if not broken("publishes-once") else "more",
        ),
        (
            "repeated effects on SIGTERM within the grace period",
            "0",
            str(sum(each.repeated_effects for each in term)),
        ),
        (
            "extra starts after a restart of Redis",
            "0",
            str(sum(each.starts - each.published - each.retried for each in restarts)),
        ),
        (
            "pause after every link went half open",
            "at most 10 s",
            f"at most {max(silences, default=0.0):.1f} s, n = {len(silences)}",
        ),
        (
            "longest publish, whatever happened",
            "5 s",
            f"{max(each.longest_publish for each in reports):.1f} s",
        ),
        (
            "keys left after all retention",
            "counters only",
            str(broken("leaves-nothing") or "counters only"),
        ),
    ]


def main() -> None:
    """Put the figures of ``RESULTS.json`` into the page."""
    section = render(Results.read(Path(sys.argv[1])))
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{section}\n{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
