"""streaq: a Redis stream, by coredis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from streaq import TaskStatus, Worker
from streaq.task import Task

from benchmarks import settings
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, serve


@asynccontextmanager
async def lifespan() -> AsyncGenerator[None]:
    note("ready")
    yield


worker = Worker(
    redis_url=settings.REDIS_URL,
    queue_name="work",
    concurrency=work.SLOTS,
    idle_timeout=work.LEASE,
    lifespan=lifespan,
)


@worker.task(ttl=600)
async def task(job: str, seconds: float, kills: bool) -> str:
    return await work.run(job, seconds, kills)


class Client:
    async def start(self) -> None:
        await worker.__aenter__()
        self._tasks: dict[str, Task] = {}

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        published = self._tasks[job] = await task.enqueue(job, seconds, kills)
        return published.id

    async def ask(self, job: str) -> Answer:
        known = self._tasks[job]
        status = await known.status()
        if status is not TaskStatus.DONE:
            return Answer("open", status.value)
        result = await known.result(timeout=1)
        if not result.success:
            return Answer("failed", "not a success")
        return Answer("done", status.value, result.result)


if __name__ == "__main__":
    serve(Client())
else:
    keep_log()
