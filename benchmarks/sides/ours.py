"""This library: the pool as a process of its own, and inside of an application."""

from __future__ import annotations

from benchmarks.sides.side import Side

REQUIREMENTS = ("redispatcher-fastapi[fast,server]", "httptools")
"""The checkout rather than a release; the limit has the same, and so the same redis-py."""
_VERSIONS = ("redispatcher-fastapi", "fastapi", "redis", "hiredis", "pydantic", "uvloop")

SIDES = (
    Side(
        name="ours",
        program="ours",
        requirements=REQUIREMENTS,
        versions=_VERSIONS,
        delivery="at least once",
        worker=(
            "redispatcher",
            "pool",
            "benchmarks.programs.ours:dispatcher",
            "--processes",
            "{processes}",
            "--log-level",
            "warning",
        ),
        notes="everything as it is by default: leases, fencing, records of finished jobs, "
        "retries; uvloop and hiredis",
        pace=90_000,
        publish_pace=60_000,
        endpoint="ours_endpoint",
        baseline=True,
    ),
    Side(
        name="ours-embedded",
        program="ours_embedded",
        requirements=REQUIREMENTS,
        versions=_VERSIONS,
        delivery="at least once",
        worker=(
            "uvicorn",
            "benchmarks.programs.ours_embedded:app",
            "--port",
            "0",
            "--loop",
            "uvloop",
            "--log-level",
            "warning",
        ),
        notes="the same, with the pool inside of a FastAPI application under uvicorn",
        pace=90_000,
        publish_pace=60_000,
        cannot={
            **dict.fromkeys(
                ("large", "depends", "result", "sleep", "thread"), "runs them as ours does"
            ),
            **dict.fromkeys(("queues", "delayed"), "does that as ours does"),
            "publish": "it publishes as ours does",
            "bulk": "it publishes as ours does",
            "processes": "one application",
        },
        baseline=True,
    ),
)
