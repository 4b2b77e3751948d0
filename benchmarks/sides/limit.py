"""The limit: what a program written by hand for this benchmark gets out of redis-py."""

from __future__ import annotations

from benchmarks.sides.ours import REQUIREMENTS
from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="limit",
        program="limit",
        requirements=REQUIREMENTS,
        versions=("redis", "hiredis", "pydantic", "uvloop"),
        delivery="at least once",
        worker=("python", "-c", "from benchmarks.programs.limit import main; main()"),
        notes="written by hand: a stream read 100 at a time, one task per job, pydantic, "
        "acknowledged in batches; no retries, no takeover, no records",
        pace=120_000,
        publish_pace=20_000,
        cannot={
            "depends": "that is what a library is for",
            "result": "that is what a library is for",
            "thread": "that is what a library is for",
            "delayed": "that is what a library is for",
            "queues": "one stream",
            "processes": "one consumer of its group",
        },
        endpoint="limit_endpoint",
        baseline=True,
    ),
)
