"""Which jobs and which faults make up a run, and what it must not do beside what none may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.chaos.faults import FAULTS
from tests.chaos.workload import Kind

#: A promise that holds in some runs only; see :mod:`tests.chaos.judging`.
Promise = Literal["keeps-leases", "no-repeats", "finishes-in-grace"]

_QUICK: Mapping[Kind, int] = {
    "quick": 62,
    "flaky": 5,
    "raise": 5,
    "limited": 8,
    "ordered": 8,
    "unique": 6,
    "cancelled": 2,
    "expiring": 4,
}
_HELD: Mapping[Kind, int] = {"quick": 70, "flaky": 5, "long": 5, "limited": 10, "ordered": 10}
_LONG: Mapping[Kind, int] = {"quick": 80, "long": 20}
_ALL: Mapping[Kind, int] = {
    "quick": 8_900,
    "limited": 150,
    "ordered": 200,
    "unique": 100,
    "cancelled": 50,
    "expiring": 100,
    "flaky": 200,
    "long": 200,
    "raise": 50,
    "block": 20,
    "crash": 10,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of run.

    ``mix`` are the shares of each kind of job; ``every`` is the mean time between two faults in
    seconds. ``forgets`` says that Redis loses what it had acknowledged, ``clocks`` are by how
    many hours the clocks of the pools are wrong.
    """

    faults: tuple[str, ...] = ()
    mix: Mapping[Kind, int]
    jobs: int = 400
    seconds: float = 6.0
    every: float = 1.5
    workers: int = 2
    promises: tuple[Promise, ...] = ()
    forgets: bool = False
    is_persistent: bool = True
    steps_clock: bool = False
    clocks: tuple[float, ...] = ()

    @property
    def needs_clocks(self) -> bool:
        """Whether some process gets a clock of its own."""
        return self.steps_clock or bool(self.clocks)


def _alone(
    fault: str, *promises: Promise, every: float = 1.5, steps_clock: bool = False
) -> Profile:
    return Profile(
        faults=(fault,), mix=_QUICK, every=every, promises=promises, steps_clock=steps_clock
    )


def _outage(fault: str) -> Profile:
    """While Redis is away for longer than a lease, jobs are held."""
    return Profile(
        faults=(fault,), mix=_HELD, every=4.5, seconds=8.0, promises=("keeps-leases", "no-repeats")
    )


ALONE: Mapping[str, Profile] = {
    "kill": _alone("kill", every=2.0),
    "stop": Profile(faults=("stop",), mix=_HELD, every=4.5, seconds=8.0),
    "term": Profile(
        faults=("term",),
        mix=_HELD,
        every=2.5,
        promises=("keeps-leases", "no-repeats", "finishes-in-grace"),
    ),
    # Those that take their time are beside it again and again, some of them three times.
    "crash": Profile(mix={"quick": 156, "steady": 40, "crash": 4}, jobs=200, workers=2),
    "long": Profile(mix=_LONG, jobs=200, promises=("keeps-leases", "no-repeats")),
    "block": Profile(
        mix={"quick": 96, "block": 4}, jobs=150, promises=("keeps-leases", "no-repeats")
    ),
    "redis-kill": _alone("redis-kill", "keeps-leases", "no-repeats"),
    "redis-away": _outage("redis-away"),
    "redis-wedge": _outage("redis-wedge"),
    "flush-all": Profile(faults=("flush-all",), mix=_QUICK, every=3.5, forgets=True),
    "script-flush": _alone("script-flush", "keeps-leases", "no-repeats"),
    "out-of-memory": _alone("out-of-memory", "keeps-leases", "no-repeats", every=2.5),
    "read-only": _alone("read-only", "keeps-leases", "no-repeats", every=2.5),
    "reset": _alone("reset", "keeps-leases", "no-repeats", every=0.7),
    "delay": _alone("delay", "keeps-leases", "no-repeats", every=2.0),
    "half-open": _alone("half-open", "keeps-leases", "no-repeats", every=4.0),
    "cut-replies": _alone("cut-replies", "keeps-leases", "no-repeats", every=0.5),
    "worker-clock": Profile(
        mix=_QUICK, clocks=(6.0, -4.0), promises=("keeps-leases", "no-repeats")
    ),
    "step-clock": _alone("step-clock", "keeps-leases", "no-repeats", steps_clock=True),
}
"""Each fault by itself; those that jobs bring about are named after their kind."""

MIXED = Profile(
    faults=tuple(sorted(FAULTS.keys() - {"flush-all", "redis-away"})),
    mix=_ALL,
    jobs=10_000,
    seconds=40.0,
    every=1.5,
    workers=4,
    steps_clock=True,
    clocks=(0.0, 5.0, -3.0),
)
"""All faults but the one that Redis cannot forget without losing jobs."""

PROFILES: Mapping[str, Profile] = {
    **ALONE,
    "mixed": MIXED,
    # How soon what a killed process held starts again, with many samples.
    "restarts": Profile(
        faults=("kill",), mix={"steady": 1}, jobs=1_800, seconds=70.0, every=3.0, workers=4
    ),
    # What the controls need beside these: a Redis that keeps nothing when it is killed.
    "redis-kill-without-file": Profile(faults=("redis-kill",), mix=_QUICK, is_persistent=False),
}
