"""arq, polling often."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="arq",
        program="arq",
        requirements=("arq", "hiredis", "uvloop", "pydantic", "fastapi", "uvicorn", "httptools"),
        versions=("arq", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "arq",
            "benchmarks.programs.arq.WorkerSettings",
            "--custom-log-dict",
            "benchmarks.programs.arq.LOGGING",
        ),
        notes="poll_delay of 20 ms rather than 0.5 s, keep_result of 0 unless results are "
        "kept, uvloop, pickle of a dict that the job validates; sync work in an "
        "executor of 100 threads",
        pace=2_300,
        publish_pace=5_500,
        cannot={
            "bulk": "no such API",
            "depends": "no injection of dependencies into jobs",
            "queues": "one queue per worker",
        },
        endpoint="arq_endpoint",
    ),
)
