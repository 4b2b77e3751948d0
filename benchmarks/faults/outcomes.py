"""What a fault did to a library: plain data, and how it is read off the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.faults.journal import Entry, Line
from benchmarks.faults.serving import Answer
from benchmarks.faults.work import pid_of


@dataclass(frozen=True, slots=True)
class Kill:
    """Workers that were killed with their hands full."""

    rounds: int
    jobs: int
    held: int
    """Those that ran in the killed process at that moment."""
    lost: int
    """Those that never finished within the bound."""
    restarts: list[float]
    """Seconds from the kill to the next start of each held job that was started again."""
    extra_starts: int
    """Starts that no kill made necessary."""
    finished_twice: int


@dataclass(frozen=True, slots=True)
class Told:
    """The warnings and errors that name one of the jobs."""

    warnings: int
    first: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Workers that were frozen for longer than their lease, and then went on."""

    rounds: int
    held: int
    taken_over: int
    """Those that another worker started while the first one was frozen."""
    runs: dict[str, int]
    """How many jobs were started how often."""
    zombies: int
    """Frozen runs that went on to their end although the job had been taken over."""
    early: int
    """Of these, how many ended while the other run was under way."""
    accepted: int
    """Jobs whose result was that of the frozen run after it came back, whatever it was later."""
    kept: int
    """Jobs whose result still was that of the frozen run at the end."""
    said_after: dict[str, int]
    """What the library said of how many jobs, in its own words, once the frozen runs had ended."""
    said_finally: dict[str, int]
    lost: int
    told_by_zombie: Told = field(default_factory=lambda: Told(0))
    told_by_others: Told = field(default_factory=lambda: Told(0))


@dataclass(frozen=True, slots=True)
class Poison:
    """A job that kills its process, beside jobs that do not."""

    seconds: float
    starts: int
    last_start: float
    """Seconds after it was published."""
    given_up: bool
    """The library says that it failed."""
    word: str
    """The library's own for what became of it."""
    innocents: int
    unfinished: int
    failed: int
    """Innocents that the library gave up."""
    extra_starts: int
    processes: int


def judge_kill(
    started: Sequence[Entry],
    finished: Sequence[Entry],
    *,
    jobs: Collection[str],
    kills: Sequence[tuple[float, Collection[str]]],
) -> Kill:
    """``kills`` are the moments, and the jobs that were running in the process then."""
    starts = Counter(entry.job for entry in started)
    ends = Counter(entry.job for entry in finished)
    restarts = [
        min(again) - at
        for at, held in kills
        for job in held
        if (again := [entry.at for entry in started if entry.job == job and entry.at > at])
    ]
    needed = Counter(jobs) + Counter(job for _, held in kills for job in held)
    return Kill(
        rounds=len(kills),
        jobs=len(jobs),
        held=sum(len(held) for _, held in kills),
        lost=sum(not ends[job] for job in jobs),
        restarts=sorted(restarts),
        extra_starts=sum(max(0, starts[job] - needed[job]) for job in jobs),
        finished_twice=sum(ends[job] > 1 for job in jobs),
    )


@dataclass(frozen=True, slots=True)
class Freeze:
    """One round of stops."""

    pid: int
    until: float
    """When it went on."""
    held: Collection[str]
    after: Mapping[str, Answer]
    """What the library said of these jobs once the frozen runs had ended."""
    final: Mapping[str, Answer]


def judge_stop(
    started: Sequence[Entry],
    finished: Sequence[Entry],
    freezes: Sequence[Freeze],
    *,
    told_by_zombie: Told,
    told_by_others: Told,
) -> Stop:
    runs: Counter[int] = Counter()
    taken_over = zombies = early = accepted = kept = lost = 0
    for freeze in freezes:
        for job in freeze.held:
            starts = [entry for entry in started if entry.job == job]
            ends = [entry for entry in finished if entry.job == job]
            runs[len(starts)] += 1
            lost += not ends
            if not any(e.pid != freeze.pid and e.at <= freeze.until for e in starts):
                continue
            taken_over += 1
            back = [e for e in ends if e.pid == freeze.pid and e.at > freeze.until]
            if not back:
                continue
            zombies += 1
            others = [entry.at for entry in ends if entry.pid != freeze.pid]
            early += not others or back[0].at < min(others)
            is_kept = _is_of(freeze.pid, freeze.final[job])
            kept += is_kept
            accepted += is_kept or _is_of(freeze.pid, freeze.after[job])
    return Stop(
        rounds=len(freezes),
        held=sum(len(freeze.held) for freeze in freezes),
        taken_over=taken_over,
        runs={str(times): runs[times] for times in sorted(runs)},
        zombies=zombies,
        early=early,
        accepted=accepted,
        kept=kept,
        said_after=_count_words(freeze.after for freeze in freezes),
        said_finally=_count_words(freeze.final for freeze in freezes),
        lost=lost,
        told_by_zombie=told_by_zombie,
        told_by_others=told_by_others,
    )


def judge_told(lines: Sequence[Line]) -> Told:
    """Count them; the first one is shown."""
    return Told(len(lines), " ".join(lines[0].text.split())[:200] if lines else "")


def _count_words(rounds: Iterable[Mapping[str, Answer]]) -> dict[str, int]:
    return dict(Counter(answer.word for answers in rounds for answer in answers.values()))


def _is_of(pid: int, answer: Answer) -> bool:
    return answer.result is not None and pid_of(answer.result) == pid
