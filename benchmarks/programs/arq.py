"""arq: a sorted set that workers poll."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from pydantic import BaseModel

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

Context = dict[Any, Any]


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


async def noop(context: Context, message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


async def large(context: Context, message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


async def result(context: Context, message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


async def sleep(context: Context, message: dict[str, Any]) -> None:
    await jobs.run_sleep(Message.model_validate(message).index)


async def thread(context: Context, message: dict[str, Any]) -> None:
    """Sync work in an executor that the worker holds, as arq documents it."""
    index = Message.model_validate(message).index
    await asyncio.get_running_loop().run_in_executor(context["threads"], jobs.run_thread, index)


async def on_startup(context: Context) -> None:
    context["threads"] = ThreadPoolExecutor(settings.SLOTS)


async def on_shutdown(context: Context) -> None:
    context["threads"].shutdown()


class WorkerSettings:
    functions = (noop, large, result, sleep, thread)
    redis_settings = RedisSettings.from_dsn(settings.REDIS_URL)
    queue_name = settings.QUEUES[0]
    max_jobs = settings.SLOTS
    poll_delay = 0.02  # at most queue_read_limit (5 x max_jobs) jobs start per poll
    keep_result = 3600 if settings.KIND == "result" else 0
    log_results = False
    on_startup = on_startup
    on_shutdown = on_shutdown


LOGGING = {"version": 1, "loggers": {"arq": {"level": "WARNING"}}}


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    async def start(self) -> None:
        self.redis = await create_pool(
            WorkerSettings.redis_settings, default_queue_name=settings.QUEUES[0]
        )

    async def publish(self, kind: str, index: int) -> None:
        await self.redis.enqueue_job(kind, body_of(kind, index))

    async def publish_at(self, kind: str, index: int, due: datetime) -> None:
        await self.redis.enqueue_job(kind, body_of(kind, index), _defer_until=due)

    async def close(self) -> None:
        await self.redis.aclose()


if __name__ == "__main__":
    produce(Producer())
else:  # the arq command runs its worker on the current loop
    asyncio.set_event_loop(uvloop.new_event_loop())
