"""docket, checking often and keeping nothing of finished jobs."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="docket",
        program="docket",
        requirements=("pydocket", "hiredis", "uvloop", "pydantic"),
        versions=("pydocket", "redis", "hiredis"),
        delivery="at least once",
        worker=("python", "-m", "benchmarks.programs.docket", "worker"),
        notes="minimum_check_interval of 10 ms and scheduling_resolution of 20 ms rather than "
        "250 ms each, execution_ttl of 0 unless results are kept, 1,000 connections, uvloop, a "
        "dict that the job validates",
        pace=2_300,
        publish_pace=4_300,
        cannot={"thread": "runs coroutine functions only", "queues": "one queue per worker"},
    ),
)
