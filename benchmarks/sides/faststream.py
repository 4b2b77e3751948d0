"""FastStream on a Redis stream."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="faststream-stream",
        program="faststream",
        requirements=("faststream[redis,cli]", "hiredis", "orjson", "uvloop", "pydantic"),
        versions=("faststream", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "faststream",
            "run",
            "benchmarks.programs.faststream:app",
            "--workers",
            "{processes}",
        ),
        notes="StreamSub with max_records and max_workers of 100 and a second subscriber with"
        " min_idle_time of 60 s, as documented, for what a lost worker left; uvloop, "
        "pydantic parameter, no logger; bulk by its pipeline argument",
        pace=3_300,
        publish_pace=12_000,
        cannot={"result": "no result store", "delayed": "no such feature"},
    ),
)
