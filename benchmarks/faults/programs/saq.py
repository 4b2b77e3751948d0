"""saq: a Redis list, and a record per job. The job gives its own signs of life, as documented."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue, Status

from benchmarks import settings as bench
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, State, serve

queue = Queue.from_url(bench.REDIS_URL, name="work")


async def task(context: dict[str, Any], *, job: str, seconds: float, kills: bool) -> str:
    beating = asyncio.create_task(beat(context))
    try:
        return await work.run(job, seconds, kills)
    finally:
        beating.cancel()


async def beat(context: dict[str, Any]) -> None:
    while True:
        await asyncio.sleep(1)
        await context["job"].update()


async def startup(context: dict[str, Any]) -> None:
    note("ready")


settings = {
    "queue": queue,
    "functions": [("work", task)],
    "concurrency": work.SLOTS,
    "startup": startup,
    "timers": {"sweep": 1},
}

_STATES: dict[Status, State] = {
    Status.COMPLETE: "done",
    Status.FAILED: "failed",
    Status.ABORTED: "failed",
}


class Client:
    async def start(self) -> None:
        await queue.connect()

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        await queue.enqueue(
            "work",
            key=job,
            job=job,
            seconds=seconds,
            kills=kills,
            heartbeat=work.LEASE,
            retries=3,
        )
        return job

    async def ask(self, job: str) -> Answer:
        known = await queue.job(job)
        if known is None:
            return Answer("open", "unknown")
        return Answer(_STATES.get(known.status, "open"), known.status.value, known.result)


if __name__ == "__main__":
    serve(Client())
else:
    keep_log()
