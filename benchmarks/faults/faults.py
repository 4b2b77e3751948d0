"""The three faults, each on a stage of its own."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from benchmarks.faults.fleet import send
from benchmarks.faults.journal import Line
from benchmarks.faults.outcomes import (
    Freeze,
    Kill,
    Poison,
    Stop,
    judge_kill,
    judge_stop,
    judge_told,
)
from benchmarks.faults.serving import Answer
from benchmarks.faults.stage import Stage
from benchmarks.faults.work import SLOTS
from benchmarks.processes import ProgramFailedError

BOUND = 60.0
"""Seconds after a fault in which a job that is not lost finishes; at least four leases of all."""
JOB_SECONDS = 3.0
"""Shorter than every lease: not every library renews them."""
INNOCENTS = 80
INNOCENT_SECONDS = 1.5
INNOCENTS_WITHIN = 30.0
KILLER_SECONDS = 0.5


def kill(stage: Stage, rounds: int) -> Kill:
    """Kill a worker whose slots are all taken."""
    stage.trickle()
    jobs: list[str] = []
    kills: list[tuple[float, list[str]]] = []
    for number in range(rounds):
        prefix = f"kill-{number}-"
        names, pid = _fill_a_worker(stage, prefix)
        held = [entry.job for entry in stage.journal.running(prefix)[pid]]
        at = time.monotonic()
        send(pid, signal.SIGKILL)
        jobs += names
        kills.append((at, held))
        stage.wait_until_finished(names, prefix, BOUND)
        stage.wait_for_workers()
    _settle(stage)
    return judge_kill(
        stage.journal.entries("started", "kill-"),
        stage.journal.entries("finished", "kill-"),
        jobs=jobs,
        kills=kills,
    )


def stop(stage: Stage, rounds: int) -> Stop:
    """Freeze a worker whose slots are all taken until others have started its jobs."""
    stage.trickle()
    freezes: list[Freeze] = []
    own: list[Line] = []
    others: list[Line] = []
    for number in range(rounds):
        prefix = f"stop-{number}-"
        names, pid = _fill_a_worker(stage, prefix)
        since = time.monotonic()
        send(pid, signal.SIGSTOP)
        held = {entry.job for entry in stage.journal.running(prefix)[pid]}
        try:
            stage.wait(lambda: held <= _started_elsewhere(stage, prefix, pid), BOUND)  # noqa: B023
        finally:
            until = time.monotonic()
            send(pid, signal.SIGCONT)
        stage.wait(lambda: not stage.journal.running(prefix).get(pid), JOB_SECONDS)  # noqa: B023
        after = _ask_once_settled(stage, held)
        stage.wait_until_finished(names, prefix, BOUND)
        stage.wait_for_workers()
        _settle(stage)
        final = {job: stage.ask(job) for job in held}
        freezes.append(Freeze(pid, until, held, after, final))
        ids = [stage.ids[job] for job in held]
        for line in stage.journal.lines(level=logging.WARNING, since=since):
            if any(id in line.text for id in ids):
                (own if line.pid == pid else others).append(line)
    return judge_stop(
        stage.journal.entries("started", "stop-"),
        stage.journal.entries("finished", "stop-"),
        freezes,
        told_by_zombie=judge_told(own),
        told_by_others=judge_told(others),
    )


def poison(stage: Stage, rounds: int) -> Poison:
    """Run one job that kills its process among others; there is one round, whatever is asked."""
    stage.trickle()
    seconds = max(BOUND, 8 * stage.contender.lease)
    names = [f"innocent-{number}" for number in range(INNOCENTS)]
    begun = time.monotonic()
    _publish_evenly(stage, names[:SLOTS])
    published = time.monotonic()
    stage.publish("killer", KILLER_SECONDS, kills=True)
    _publish_evenly(stage, names[SLOTS:])
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    killer = stage.ask("killer")
    answers = [stage.ask(name) for name in names]
    starts = [entry.at for entry in stage.journal.entries("started", "killer")]
    finished = {entry.job for entry in stage.journal.entries("finished", "innocent-")}
    return Poison(
        seconds=seconds,
        starts=len(starts),
        last_start=max(starts, default=published) - published,
        given_up=killer.state == "failed",
        word=killer.word,
        innocents=len(names),
        unfinished=len(names) - len(finished),
        failed=sum(answer.state == "failed" for answer in answers),
        extra_starts=len(stage.journal.entries("started", "innocent-")) - len(names),
        processes=len(stage.journal.entries("ready")),
    )


FAULTS: Mapping[str, Callable[[Stage, int], Kill | Stop | Poison]] = {
    "kill": kill,
    "stop": stop,
    "poison": poison,
}


def _publish_evenly(stage: Stage, innocents: Sequence[str]) -> None:
    begun = time.monotonic()
    for number, name in enumerate(innocents, start=1):
        stage.publish(name, INNOCENT_SECONDS)
        due = begun + number * INNOCENTS_WITHIN / INNOCENTS
        time.sleep(max(0.0, due - time.monotonic()))


def _fill_a_worker(stage: Stage, prefix: str) -> tuple[list[str], int]:
    """Publish as many jobs as there are slots; return them and a worker that runs all it can."""
    names = [f"{prefix}{number}" for number in range(2 * SLOTS)]
    for name in names:
        stage.publish(name, JOB_SECONDS)
    full: list[int] = []

    def is_full() -> bool:
        running = stage.journal.running(prefix)
        full[:] = [pid for pid, runs in running.items() if len(runs) >= SLOTS]
        return bool(full)

    if not stage.wait(is_full, BOUND):
        raise ProgramFailedError(f"no worker ran {SLOTS} jobs at once within {BOUND:.0f} s")
    return names, full[0]


def _started_elsewhere(stage: Stage, prefix: str, pid: int) -> set[str]:
    return {e.job for e in stage.journal.entries("started", prefix) if e.pid != pid}


def _ask_once_settled(stage: Stage, jobs: Collection[str]) -> dict[str, Answer]:
    """Return what the library says of jobs that have just ended, once it says so of all.

    It may never, so this takes a second at most, in which the runs of others are not over.
    """
    answers: dict[str, Answer] = {}

    def are_all_done() -> bool:
        answers.update({job: stage.ask(job) for job in jobs})
        return all(answer.state == "done" for answer in answers.values())

    stage.wait(are_all_done, 1.0)
    return answers


def _settle(stage: Stage) -> None:
    """Wait until what is still thought to be unfinished would have been started again."""
    time.sleep(stage.contender.lease + 2)
