"""RQ without a fork per job."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="rq",
        program="rq",
        requirements=("rq", "hiredis", "pydantic"),
        versions=("rq", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "rq",
            "worker",
            "--config",
            "benchmarks.programs.rq",
            "--worker-class",
            "rq.worker.SimpleWorker",
            "--with-scheduler",
            "--quiet",
        ),
        notes="SimpleWorker, which does not fork for each job, with its scheduler (each "
        "second, and due times in whole seconds), retries of 3, result_ttl of 0 unless "
        "results are kept, a dict that the job validates",
        pace=250,
        publish_pace=1_700,
        cannot={
            "depends": "no injection of dependencies into jobs",
            "sleep": "one job at a time per process",
            "thread": "one job at a time per process",
        },
    ),
)
