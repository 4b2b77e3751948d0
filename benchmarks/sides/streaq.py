"""streaq, keeping nothing of finished jobs."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="streaq",
        program="streaq",
        requirements=("streaq", "uvloop", "pydantic", "fastapi", "uvicorn", "httptools"),
        versions=("streaq", "coredis"),
        delivery="at least once",
        worker=("streaq", "run", "benchmarks.programs.streaq:worker"),
        notes="ttl of 0 and silent tasks, uvloop, pickle of a dict that the job validates; "
        "results kept for 5 minutes where they are kept",
        pace=1_300,
        publish_pace=7_500,
        cannot={
            "depends": "no injection of dependencies into jobs, only a context of the worker",
            "queues": "one queue per worker",
        },
        endpoint="streaq_endpoint",
    ),
)
