"""Celery on Redis."""

from __future__ import annotations

from benchmarks.sides.side import Side

SIDES = (
    Side(
        name="celery",
        program="celery",
        requirements=("celery[redis]", "hiredis", "pydantic"),
        versions=("celery", "kombu", "redis", "hiredis"),
        delivery="at least once",
        worker=(
            "celery",
            "--app",
            "benchmarks.programs.celery",
            "worker",
            "--pool",
            "threads",
            "--concurrency",
            "{slots}",
            "--queues",
            "{queues}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel",
            "WARNING",
        ),
        notes="task_acks_late, pool of 100 threads, no gossip, mingle or heartbeat, results "
        "ignored unless they are kept, a dict that the job validates",
        pace=1_100,
        publish_pace=1_400,
        cannot={"bulk": "no such API", "depends": "no injection of dependencies into jobs"},
    ),
)
