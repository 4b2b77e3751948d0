"""How the journal of a fault is judged."""

from __future__ import annotations

import logging

import pytest

from benchmarks.faults.journal import Entry, Line
from benchmarks.faults.outcomes import Freeze, Stop, Told, judge_kill, judge_stop, judge_told
from benchmarks.faults.serving import Answer

ZOMBIE, OTHER = 1, 2


def start(job: str, pid: int, at: float) -> Entry:
    return Entry("started", job, f"{pid}@{at}", pid, at)


def finish(job: str, pid: int, at: float) -> Entry:
    return Entry("finished", job, f"{pid}@{at}", pid, at)


def test_a_killed_job_that_runs_again_once_is_neither_lost_nor_needless() -> None:
    kill = judge_kill(
        [start("a", 1, 1), start("b", 1, 1), start("a", 2, 7.5), start("b", 2, 6)],
        [finish("a", 2, 9), finish("b", 2, 9)],
        jobs=["a", "b"],
        kills=[(2.0, ["a", "b"])],
    )

    assert (kill.rounds, kill.jobs, kill.held) == (1, 2, 2)
    assert kill.restarts == [4.0, 5.5]
    assert (kill.lost, kill.extra_starts, kill.finished_twice) == (0, 0, 0)


def test_a_job_that_never_finishes_is_lost_and_has_no_restart() -> None:
    kill = judge_kill([start("a", 1, 1)], [], jobs=["a"], kills=[(2.0, ["a"])])

    assert (kill.lost, kill.restarts) == (1, [])


def test_starts_that_no_kill_called_for_are_needless() -> None:
    kill = judge_kill(
        [
            *(start("held", pid, at) for pid, at in ((1, 1), (2, 6), (3, 6.5))),
            *(start("free", pid, at) for pid, at in ((2, 1), (3, 6))),
        ],
        [finish("held", 2, 9), finish("held", 3, 9), finish("free", 2, 4), finish("free", 3, 9)],
        jobs=["held", "free"],
        kills=[(2.0, ["held"])],
    )

    assert (kill.extra_starts, kill.finished_twice) == (2, 2)
    assert kill.restarts == [4.0]


def judge(*, starts: list[Entry], ends: list[Entry], after: Answer, final: Answer) -> Stop:
    freeze = Freeze(ZOMBIE, 10.0, ["job"], {"job": after}, {"job": final})
    return judge_stop(
        starts, ends, [freeze], told_by_zombie=Told(0), told_by_others=Told(1, "lost")
    )


RUNNING = Answer("open", "running")
ITS = Answer("done", "done", "1@1.0")
THE_OTHERS = Answer("done", "done", "2@8.0")
BOTH_STARTS = [start("job", ZOMBIE, 1.0), start("job", OTHER, 8.0)]


@pytest.mark.parametrize(
    ("after", "final", "accepted", "kept"),
    [
        (RUNNING, THE_OTHERS, 0, 0),
        (ITS, THE_OTHERS, 1, 0),
        (ITS, ITS, 1, 1),
        (RUNNING, ITS, 1, 1),
        (RUNNING, Answer("failed", "failed"), 0, 0),
    ],
)
def test_the_answers_of_the_library_tell_whose_result_it_took(
    after: Answer, final: Answer, accepted: int, kept: int
) -> None:
    stop = judge(
        starts=BOTH_STARTS,
        ends=[finish("job", ZOMBIE, 10.1), finish("job", OTHER, 11.0)],
        after=after,
        final=final,
    )

    assert (stop.taken_over, stop.zombies, stop.early) == (1, 1, 1)
    assert (stop.accepted, stop.kept, stop.lost) == (accepted, kept, 0)
    assert stop.runs == {"2": 1}
    assert (stop.said_after, stop.said_finally) == ({after.word: 1}, {final.word: 1})
    assert stop.told_by_others == Told(1, "lost")


def test_a_frozen_run_that_ends_after_the_other_is_late() -> None:
    stop = judge(
        starts=BOTH_STARTS,
        ends=[finish("job", OTHER, 9.0), finish("job", ZOMBIE, 10.1)],
        after=THE_OTHERS,
        final=THE_OTHERS,
    )

    assert (stop.zombies, stop.early) == (1, 0)


def test_a_run_that_nobody_took_over_is_no_zombie() -> None:
    stop = judge(
        starts=[start("job", ZOMBIE, 1.0), start("job", OTHER, 12.0)],
        ends=[finish("job", ZOMBIE, 10.1)],
        after=ITS,
        final=ITS,
    )

    assert (stop.taken_over, stop.zombies, stop.accepted, stop.kept) == (0, 0, 0, 0)


def test_a_frozen_run_that_was_cancelled_is_no_zombie() -> None:
    stop = judge(
        starts=BOTH_STARTS, ends=[finish("job", OTHER, 11.0)], after=RUNNING, final=THE_OTHERS
    )

    assert (stop.taken_over, stop.zombies, stop.lost) == (1, 0, 0)


def test_a_stopped_job_that_nobody_finished_is_lost() -> None:
    stop = judge(starts=BOTH_STARTS, ends=[], after=RUNNING, final=RUNNING)

    assert stop.lost == 1


def test_of_what_was_logged_the_first_line_is_shown_in_one_line() -> None:
    lines = [Line(logging.ERROR, f"Lost\n  job {number}.", 1, 1.0) for number in (1, 2)]

    assert judge_told(lines) == Told(2, "Lost job 1.")
    assert judge_told([]) == Told(0)
