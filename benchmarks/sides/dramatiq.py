"""dramatiq on Redis."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="dramatiq",
        program="dramatiq",
        requirements=("dramatiq[redis]", "hiredis", "pydantic"),
        versions=("dramatiq", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "dramatiq",
            "benchmarks.programs.dramatiq",
            "--processes",
            "{processes}",
            "--threads",
            "{slots}",
        ),
        notes="sync actors in 100 threads, a worker_timeout of 100 ms rather than 1 s (it looks "
        "for new and due jobs that often when idle), default middleware, a dict that the job "
        "validates",
        pace=3_800,
        publish_pace=4_800,
        cannot={"bulk": "no such API", "depends": "no injection of dependencies into jobs"},
        environment={"dramatiq_worker_timeout": "100"},
    ),
)
