"""saq, keeping nothing of finished jobs."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="saq",
        program="saq",
        requirements=("saq[redis,hiredis]", "orjson", "uvloop", "pydantic"),
        versions=("saq", "redis", "hiredis"),
        delivery="at least once",
        worker=("saq", "benchmarks.programs.saq.settings"),
        notes="retries of 3, ttl of -1 unless results are kept, orjson, uvloop, a dict that "
        "the job validates",
        pace=2_300,
        publish_pace=10_000,
        cannot={
            "bulk": "no such API",
            "depends": "no injection of dependencies into jobs",
            "queues": "one queue per worker",
        },
    ),
)
