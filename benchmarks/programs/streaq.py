"""streaq: a Redis stream, by coredis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from streaq import Worker

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

worker = Worker(
    redis_url=settings.REDIS_URL,
    queue_name=settings.QUEUES[0],
    concurrency=settings.SLOTS,
    anyio_kwargs={"use_uvloop": True},
)
NOT_KEPT = 0  # an int: a timedelta of 0 is sent to Redis, which refuses it


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


@worker.task(ttl=NOT_KEPT, silent=True)
async def noop(message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


@worker.task(ttl=NOT_KEPT, silent=True)
async def large(message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


@worker.task(silent=True)
async def result(message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


@worker.task(ttl=NOT_KEPT, silent=True)
async def sleep(message: dict[str, Any]) -> None:
    await jobs.run_sleep(Message.model_validate(message).index)


@worker.task(ttl=NOT_KEPT, silent=True)
def thread(message: dict[str, Any]) -> None:
    jobs.run_thread(Message.model_validate(message).index)


TASKS = {"noop": noop, "large": large, "result": result, "sleep": sleep, "thread": thread}


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    async def start(self) -> None:
        await worker.__aenter__()

    async def publish(self, kind: str, index: int) -> None:
        await TASKS[kind].enqueue(body_of(kind, index))

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        task = TASKS[kind]
        await worker.enqueue_many([task.enqueue(body_of(kind, index)) for index in indexes])

    async def publish_at(self, kind: str, index: int, due: datetime) -> None:
        await TASKS[kind].enqueue(body_of(kind, index)).start(schedule=due)

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)


if __name__ == "__main__":
    produce(Producer())
