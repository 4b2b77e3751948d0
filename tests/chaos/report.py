"""What a run was, did and broke; written by its driver and read by tests and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: a word for the promise, and what was seen."""

    promise: str
    text: str


@dataclass(slots=True, kw_only=True)
class Report:
    """Figures and violations of one run; times are in seconds."""

    profile: str
    seed: int
    without: str = ""
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    published: int = 0
    uncertain: int = 0
    refused_as_full: int = 0
    longest_publish: float = 0.0
    starts: int = 0
    extra_starts: int = 0
    repeated_effects: int = 0
    taken_back: int = 0
    retried: int = 0
    released: int = 0
    graces: int = 0
    zombie_results_refused: int = 0
    processes: int = 0
    most_starts_of_a_killer: int = 0
    gaps_after_kill: list[float] = field(default_factory=list[float])
    silences: list[float] = field(default_factory=list[float])
    violations: list[Violation] = field(default_factory=list[Violation])
    #: Where its journal and its logs are, if a promise was broken.
    kept: str = ""

    @property
    def broken(self) -> set[str]:
        """The promises that were broken."""
        return {violation.promise for violation in self.violations}

    def break_promise(self, promise: str, text: str) -> None:
        """Note that a promise was broken."""
        self.violations.append(Violation(promise, text))

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote."""
        return cls.of(json.loads(path.read_text()))

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Return the report that was taken apart with ``asdict``."""
        report = cls(**values)
        report.violations = [Violation(**each) for each in values["violations"]]
        return report

    def describe(self) -> str:
        """Return the run in a few lines, the violations counted and the first of each shown."""
        lines = [
            f"{self.profile}, seed {self.seed}{f', without {self.without}' * bool(self.without)}: "
            f"{self.published} jobs in {self.seconds:.1f} s, {sum(self.faults.values())} faults, "
            f"{self.taken_back} taken back, {self.zombie_results_refused} zombie results refused, "
            f"{self.repeated_effects} repeated effects"
        ]
        counts = Counter(violation.promise for violation in self.violations)
        for promise, count in counts.items():
            first = next(each for each in self.violations if each.promise == promise)
            lines.append(f"  BROKEN {promise} ({count}): {first.text}")
        if self.kept:
            lines.append(f"  Its journal and all logs are in {self.kept}.")
        return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of all do not exceed; of none, 0."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
