"""saq: a Redis list, and a record per job."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import orjson
import uvloop
from pydantic import BaseModel
from saq import Queue

from benchmarks import jobs
from benchmarks import settings as bench
from benchmarks.producing import produce
from benchmarks.recorder import record_start

queue = Queue.from_url(bench.REDIS_URL, name=bench.QUEUES[0], dump=orjson.dumps, load=orjson.loads)


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


async def noop(context: dict[str, Any], *, message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


async def large(context: dict[str, Any], *, message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


async def result(context: dict[str, Any], *, message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


async def sleep(context: dict[str, Any], *, message: dict[str, Any]) -> None:
    await jobs.run_sleep(Message.model_validate(message).index)


async def thread(context: dict[str, Any], *, message: dict[str, Any]) -> None:
    """In an executor of its own: the one saq has for sync functions has few threads."""
    index = Message.model_validate(message).index
    await asyncio.get_running_loop().run_in_executor(context["threads"], jobs.run_thread, index)


async def startup(context: dict[str, Any]) -> None:
    context["threads"] = ThreadPoolExecutor(bench.SLOTS)


async def shutdown(context: dict[str, Any]) -> None:
    context["threads"].shutdown()


settings = {
    "queue": queue,
    "functions": [noop, large, result, sleep, thread],
    "concurrency": bench.SLOTS,
    "startup": startup,
    "shutdown": shutdown,
}

# The default of one attempt would end a job with the worker that had it.
OPTIONS = {"retries": 3, "ttl": 600 if bench.KIND == "result" else -1}


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    async def start(self) -> None:
        await queue.connect()

    async def publish(self, kind: str, index: int) -> None:
        await queue.enqueue(kind, message=body_of(kind, index), **OPTIONS)

    async def publish_at(self, kind: str, index: int, due: datetime) -> None:
        await queue.enqueue(
            kind, message=body_of(kind, index), scheduled=due.timestamp(), **OPTIONS
        )

    async def close(self) -> None:
        await queue.disconnect()


if __name__ == "__main__":
    produce(Producer())
else:  # the saq command makes a loop of this policy
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
