"""The page of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

from benchmarks.faults import work
from benchmarks.faults.contenders import CONTENDERS, Contender
from benchmarks.faults.faults import (
    BOUND,
    INNOCENT_SECONDS,
    INNOCENTS,
    INNOCENTS_WITHIN,
    JOB_SECONDS,
    KILLER_SECONDS,
)
from benchmarks.faults.fleet import SIZE
from benchmarks.faults.outcomes import Kill, Poison, Stop, Told
from benchmarks.faults.results import Outcomes, Report
from benchmarks.sections import GIGABYTE
from benchmarks.wording import write_table

T = TypeVar("T")


_INTRODUCTION = f"""\
This library and some of its peers, under the same faults with the same jobs. Written by
`make faults`. Each library has a Redis of its own and {SIZE} worker processes with {work.SLOTS}
slots each, which a supervisor starts again when they end. What happened is read from a file outside
of Redis, to which every job appends when it starts and when it ends.

Nobody waits for the default leases here: each is set to about {work.LEASE} s, or as low as its
library lets it. So compare a time with the lease beside it, and for production look at the default.
Small jobs arrive twice a second all the while. A peer that never promised what is counted here has
not broken a promise: the last table has what each says of itself."""

_KILL = f"""\
{2 * work.SLOTS} jobs of {JOB_SECONDS:g} s are published; once a worker runs {work.SLOTS} of them,
SIGKILL. Lost is what has not finished {BOUND:g} s later. A lease that was renewed just before the
kill ends later than one that was about to be. A needless start is one that no kill called for."""

_KILL_HEAD = (
    "library",
    "held when killed",
    "lost of all",
    "run again after, p50",
    "max",
    "lease set",
    "max in leases",
    "lease by default",
    "needless starts",
    "finished twice",
)

_STOP = f"""\
The same jobs; once a worker runs {work.SLOTS} of them, SIGSTOP, until others have started all of
those (or for {BOUND:g} s), then SIGCONT: the frozen runs go on as if nothing had been. A job
returns which run it was, so the library's own answer tells whose result it took: when the frozen
run ended, which may be while the other run still is under way, and at the end. Told are warnings
and errors that name one of these jobs."""

_STOP_HEAD = (
    "library",
    "frozen",
    "taken over",
    "frozen runs that ended after that",
    "results of theirs accepted",
    "of these, still there at the end",
    "starts per job",
    "lost",
    "told by the frozen worker",
    "told by others",
)

_POISON = f"""\
One job that ends its process by SIGKILL after {KILLER_SECONDS:g} s, beside {INNOCENTS} jobs of
{INNOCENT_SECONDS:g} s published over {INNOCENTS_WITHIN:g} s. Workers are started again for
{BOUND:g} s, or eight leases where that is longer; then it is counted. What is unfinished then may
still be waiting. There is one such round for each library."""

_POISON_HEAD = (
    "library",
    "starts of the killer",
    "last one after",
    "given up",
    "innocents unfinished",
    "innocents given up",
    "innocents started again",
    "processes used",
    "watched for",
)


def write_page(report: Report) -> str:
    """Everything of a run, in Markdown."""
    parts = [
        f"# Three faults, {report.started:%Y-%m-%d}",
        _INTRODUCTION,
        _write_machine(report),
        "## A worker is killed",
        _KILL,
        _write_rows(report, "kill", _KILL_HEAD, _write_kill, lambda outcomes: outcomes.kill),
        "## A worker is frozen, and comes back",
        _STOP,
        _write_rows(report, "stop", _STOP_HEAD, _write_stop, lambda outcomes: outcomes.stop),
        "What was logged first:",
        _write_told(report),
        "## A job kills its process",
        _POISON,
        _write_rows(
            report, "poison", _POISON_HEAD, _write_poison, lambda outcomes: outcomes.poison
        ),
        "## How each was set, and what it says of itself",
        _write_settings(report),
    ]
    return "\n\n".join(parts) + "\n"


def _write_machine(report: Report) -> str:
    machine = report.machine
    return "\n".join(
        (
            f"* Date: {report.started:%Y-%m-%d %H:%M} UTC, {report.seconds / 60:.0f} minutes",
            f"* {machine.processor}, {machine.cores} cores, {machine.memory / GIGABYTE:.1f} GB; "
            f"{machine.system}; {machine.python}, Redis {machine.redis}",
            f"* Load before the run {machine.load_before:.2f}; {report.at_once} libraries at once. "
            "The machine was shared: times are upper bounds.",
        )
    )


def _write_rows(
    report: Report,
    fault: str,
    head: tuple[str, ...],
    write: Callable[[Contender, T], tuple[str, ...]],
    find: Callable[[Outcomes], T | None],
) -> str:
    rows: list[tuple[str, ...]] = []
    for contender in CONTENDERS:
        outcomes = report.outcomes.get(contender.name)
        if outcomes is None:
            continue
        outcome = find(outcomes)
        if outcome is not None:
            cells = write(contender, outcome)
            rows.append((_show(contender), *cells))
        elif fault in outcomes.failures:
            failed = f"**failed: {outcomes.failures[fault]}**"
            rows.append((_show(contender), failed, *("" for _ in head[2:])))
    return write_table(head, rows)


def _write_kill(contender: Contender, kill: Kill) -> tuple[str, ...]:
    has_restarts = bool(kill.restarts)
    return (
        f"{kill.held} in {kill.rounds} kills",
        f"{kill.lost} of {kill.jobs}",
        f"{median(kill.restarts):.1f} s" if has_restarts else "never",
        f"{max(kill.restarts):.1f} s" if has_restarts else "never",
        f"{contender.lease:g} s",
        f"{max(kill.restarts) / contender.lease:.2f}" if has_restarts else "",
        contender.untuned,
        str(kill.extra_starts),
        str(kill.finished_twice),
    )


def _write_stop(contender: Contender, stop: Stop) -> tuple[str, ...]:
    return (
        f"{stop.held} in {stop.rounds} stops",
        str(stop.taken_over),
        f"{stop.zombies}, {stop.early} before the other",
        f"{stop.accepted} of {stop.zombies}",
        str(stop.kept),
        ", ".join(f"{times} for {_count(jobs)}" for times, jobs in stop.runs.items()),
        str(stop.lost),
        str(stop.told_by_zombie.warnings),
        str(stop.told_by_others.warnings),
    )


def _write_poison(contender: Contender, poison: Poison) -> tuple[str, ...]:
    return (
        str(poison.starts),
        f"{poison.last_start:.0f} s",
        f"yes, {poison.word}" if poison.given_up else f"no, {poison.word}",
        f"{poison.unfinished} of {poison.innocents}",
        str(poison.failed),
        str(poison.extra_starts),
        str(poison.processes),
        f"{poison.seconds:.0f} s",
    )


def _write_told(report: Report) -> str:
    """The first line of each kind, as it stands in the log."""
    rows: list[tuple[str, str]] = []
    for contender in CONTENDERS:
        outcomes = report.outcomes.get(contender.name)
        if outcomes is None or outcomes.stop is None:
            continue
        who: Mapping[str, Told] = {
            "the frozen worker": outcomes.stop.told_by_zombie,
            "another": outcomes.stop.told_by_others,
        }
        said = [f"{worker}: “{told.first}”" for worker, told in who.items() if told.warnings]
        rows.append((_show(contender), "; ".join(said) or "nothing"))
    return write_table(("library", "warnings and errors"), rows)


def _write_settings(report: Report) -> str:
    rows: list[tuple[str, str, str, str]] = []
    for contender in CONTENDERS:
        if outcomes := report.outcomes.get(contender.name):
            versions = ", ".join(f"{name} {number}" for name, number in outcomes.versions.items())
            rows.append((_show(contender), versions, contender.tuning, contender.promises))
    return write_table(("library", "versions", "set to", "its documentation and source say"), rows)


def _count(jobs: int) -> str:
    return f"{jobs} job{'s' if jobs > 1 else ''}"


def _show(contender: Contender) -> str:
    return f"**{contender.name}**" if contender.name == "ours" else contender.name
