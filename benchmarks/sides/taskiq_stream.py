"""taskiq on a Redis stream: the fastest peer that delivers at least once."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="taskiq-stream",
        program="taskiq_stream",
        requirements=(
            "taskiq[orjson]",
            "taskiq-redis",
            "hiredis",
            "uvloop",
            "pydantic",
            "fastapi",
            "uvicorn",
            "httptools",
        ),
        versions=("taskiq", "taskiq-redis", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "taskiq",
            "worker",
            "benchmarks.programs.taskiq_stream:broker",
            "--workers",
            "{processes}",
            "--max-async-tasks",
            "{slots}",
            "--max-threadpool-threads",
            "{slots}",
            "--log-level",
            "WARNING",
        ),
        notes="RedisStreamBroker (defaults), ORJSON, uvloop, pydantic parameter; "
        "result backend only where results are kept",
        pace=3_300,
        publish_pace=4_500,
        cannot={
            "bulk": "no such API",
            "delayed": "needs a scheduler process",
            "queues": "one broker per queue and process",
        },
        endpoint="taskiq_endpoint",
    ),
)
