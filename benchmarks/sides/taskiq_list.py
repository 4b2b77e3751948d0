"""taskiq on a Redis list: faster than its stream where a job may be lost."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="taskiq-list",
        program="taskiq_list",
        requirements=("taskiq[orjson]", "taskiq-redis", "hiredis", "uvloop", "pydantic"),
        versions=("taskiq", "taskiq-redis", "redis", "hiredis"),
        delivery="at most once",
        worker=(
            "taskiq",
            "worker",
            "benchmarks.programs.taskiq_list:broker",
            "--workers",
            "{processes}",
            "--max-async-tasks",
            "{slots}",
            "--max-threadpool-threads",
            "{slots}",
            "--log-level",
            "WARNING",
        ),
        notes="ListQueueBroker, ORJSON, uvloop, pydantic parameter; result backend only where"
        " results are kept",
        pace=3_200,
        publish_pace=4_500,
        cannot={
            "bulk": "no such API",
            "delayed": "needs a scheduler process",
            "queues": "one broker per queue and process",
        },
    ),
)
