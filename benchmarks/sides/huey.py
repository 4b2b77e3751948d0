"""huey on a Redis list."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="huey",
        program="huey",
        requirements=("huey[redis]", "hiredis", "pydantic"),
        versions=("huey", "redis", "hiredis"),
        delivery="at most once",
        worker=(
            "huey_consumer",
            "benchmarks.programs.huey.huey",
            "--worker-type",
            "thread",
            "--workers",
            "{slots}",
            "--quiet",
        ),
        notes="RedisHuey in 100 threads, results only where they are kept, a dict that the "
        "job validates",
        pace=2_500,
        publish_pace=4_800,
        cannot={
            "bulk": "no such API",
            "depends": "no injection of dependencies into jobs",
            "queues": "one queue per consumer",
        },
    ),
)
