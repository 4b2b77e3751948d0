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
        notes="sync actors in 100 threads, default middleware, a dict that the job validates",
        pace=2000,
        publish_pace=3500,
        cannot={"bulk": "no such API", "depends": "no injection of dependencies into jobs"},
    ),
)
