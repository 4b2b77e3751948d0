"""Who is put through the faults, and how each is set so that a run takes minutes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.faults.work import LEASE, SLOTS

_PROGRAMS = "benchmarks.faults.programs"
ARQ_MARGIN = 10
"""Seconds that arq adds to a job's timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One library; its name is its side's in ``benchmarks.sides``, whose environment it shares."""

    name: str
    program: str
    worker: tuple[str, ...]
    """The command of one worker process; its first word is looked up in the environment."""
    lease: float
    """Seconds without a sign of life after which the library itself gives a job to others."""
    tuning: str
    """The option that sets the lease, what it is set to, and its default."""
    untuned: str
    """How soon a lost job would be taken over with its default."""
    promises: str
    """What its documentation and source say of the three faults."""


CONTENDERS = (
    Contender(
        name="ours",
        program="ours",
        untuned="30 s",
        worker=("redispatcher", "pool", f"{_PROGRAMS}.ours:app"),
        lease=LEASE,
        tuning=f"`lease` {LEASE} s (default 30 s)",
        promises="at least once; results of workers that lost their lease are refused; a job that "
        "kills its process is started at most five times",
    ),
    Contender(
        name="taskiq-stream",
        program="taskiq",
        untuned="10 min",
        worker=(
            *("taskiq", "worker", f"{_PROGRAMS}.taskiq:broker", "--workers", "1"),
            *("--max-async-tasks", str(SLOTS)),
        ),
        lease=LEASE,
        tuning=f"`idle_timeout` {LEASE} s (default 10 min), `unacknowledged_lock_timeout` {LEASE} "
        "s (default: none), `xread_count` 1 (default 100; what is fetched ahead is idle, too)",
        promises="at least once; leases are not renewed, so a job has to be shorter than "
        "`idle_timeout`; unacknowledged messages are looked for when new ones arrive; no limit of "
        "deliveries",
    ),
    Contender(
        name="docket",
        program="docket",
        untuned="5 min",
        worker=("python", "-m", f"{_PROGRAMS}.docket", "worker"),
        lease=LEASE,
        tuning=f"`redelivery_timeout` {LEASE} s (default 5 min)",
        promises="at least once; leases are renewed; lost messages are looked for every quarter of "
        "the timeout; no limit of redeliveries",
    ),
    Contender(
        name="streaq",
        program="streaq",
        untuned="60 s",
        worker=("streaq", "run", f"{_PROGRAMS}.streaq:worker"),
        lease=LEASE,
        tuning=f"`idle_timeout` {LEASE} s (default 60 s)",
        promises="at least once; idle timeouts are renewed; `max_tries` 3 (its default) counts "
        "every start, also those beside a killer",
    ),
    Contender(
        name="saq",
        program="saq",
        untuned="not at all",
        worker=("saq", f"{_PROGRAMS}.saq.settings"),
        lease=LEASE + 1,
        tuning=f"`heartbeat` {LEASE} s, sent by the job itself every second (default: none, the "
        "`timeout` of 10 s counts), `timers` sweep 1 s (default 60 s), `retries` 3 (default 1: "
        "not again)",
        promises="stuck jobs are swept, one after another: aborted, which waits 5 s for each, and "
        "tried again while `retries` are left",
    ),
    Contender(
        name="arq",
        program="arq",
        untuned="310 s",
        worker=("arq", f"{_PROGRAMS}.arq.WorkerSettings"),
        lease=LEASE + ARQ_MARGIN,
        tuning=f"`job_timeout` {LEASE} s, to which {ARQ_MARGIN} s are added (default 300 + "
        f"{ARQ_MARGIN} s)",
        promises="at least once (pessimistic execution); `max_tries` 5 (its default) counts every "
        "start",
    ),
)
