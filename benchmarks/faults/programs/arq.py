"""arq: a sorted set that workers poll."""

from __future__ import annotations

from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings
from arq.jobs import Job

from benchmarks import settings
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, serve


async def task(context: dict[Any, Any], job: str, seconds: float, kills: bool) -> str:
    return await work.run(job, seconds, kills)


async def on_startup(context: dict[Any, Any]) -> None:
    note("ready")


class WorkerSettings:
    functions = (func(task, name="work"),)
    redis_settings = RedisSettings.from_dsn(settings.REDIS_URL)
    max_jobs = work.SLOTS
    job_timeout = work.LEASE
    on_startup = on_startup


class Client:
    async def start(self) -> None:
        self._redis = await create_pool(WorkerSettings.redis_settings)

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        await self._redis.enqueue_job("work", job, seconds, kills, _job_id=job)
        return job

    async def ask(self, job: str) -> Answer:
        known = Job(job, self._redis)
        info = await known.result_info()
        if info is None:
            return Answer("open", (await known.status()).value)
        if not info.success:
            return Answer("failed", "complete, not a success")
        return Answer("done", "complete", info.result)


if __name__ == "__main__":
    serve(Client())
else:
    keep_log()
