"""huey: a Redis list, threads; what a consumer took and did not finish is lost with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from huey import RedisHuey
from pydantic import BaseModel

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

huey = RedisHuey(
    settings.QUEUES[0],
    # Each thread holds a connection, and the scheduler one more than the 100 that a pool has.
    url=f"{settings.REDIS_URL}?max_connections={settings.SLOTS + 50}",
    results=settings.KIND == "result",
)


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


@huey.task()
def noop(message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


@huey.task()
def large(message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


@huey.task()
def result(message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


@huey.task()
def sleep(message: dict[str, Any]) -> None:
    jobs.run_sleep_blocking(Message.model_validate(message).index)


@huey.task()
def thread(message: dict[str, Any]) -> None:
    jobs.run_thread(Message.model_validate(message).index)


TASKS = {"noop": noop, "large": large, "result": result, "sleep": sleep, "thread": thread}


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    def start(self) -> None:
        pass

    def publish(self, kind: str, index: int) -> None:
        TASKS[kind](body_of(kind, index))

    def publish_at(self, kind: str, index: int, due: datetime) -> None:
        TASKS[kind].schedule(args=(body_of(kind, index),), eta=due)

    def close(self) -> None:
        huey.storage.close()


if __name__ == "__main__":
    # A task carries the name of its module, which must be the consumer's.
    from benchmarks.programs.huey import Producer

    produce(Producer())
