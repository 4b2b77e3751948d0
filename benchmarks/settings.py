"""What the harness tells a program, by environment variables.

Programs of peers import this in their own environments: standard library only.
"""

from __future__ import annotations

from os import environ

REDIS_URL = environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
KIND = environ.get("BENCH_KIND", "noop")
"""The one kind of job this run has; a side may prepare for it, by a result store for example."""
SLOTS = int(environ.get("BENCH_SLOTS", "100"))
"""How many jobs a worker process runs at once."""
QUEUES = tuple(f"bench-{number}" for number in range(int(environ.get("BENCH_QUEUES", "1"))))


def queue_of(index: int) -> str:
    """The queue a job belongs to: jobs are spread evenly."""
    return QUEUES[index % len(QUEUES)]
