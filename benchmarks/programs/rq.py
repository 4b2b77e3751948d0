"""RQ: Redis lists and a hash per job, one job at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from redis import Redis
from rq import Queue, Retry

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

# The rq command reads these two.
REDIS_URL = settings.REDIS_URL
QUEUES = list(settings.QUEUES)

# Without retries, a job whose worker was lost counts as failed.
OPTIONS = {"retry": Retry(max=3), "result_ttl": 500 if settings.KIND == "result" else 0}


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


def noop(message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


def large(message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


def result(message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


def path_of(kind: str) -> str:
    return f"benchmarks.programs.rq.{kind}"


class Producer:
    def start(self) -> None:
        redis = Redis.from_url(REDIS_URL)
        self.queues = {name: Queue(name, connection=redis) for name in QUEUES}

    def publish(self, kind: str, index: int) -> None:
        queue = self.queues[settings.queue_of(index)]
        queue.enqueue(path_of(kind), body_of(kind, index), **OPTIONS)

    def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        for name, queue in self.queues.items():
            queue.enqueue_many(
                [
                    Queue.prepare_data(path_of(kind), (body_of(kind, index),), **OPTIONS)
                    for index in indexes
                    if settings.queue_of(index) == name
                ]
            )

    def publish_at(self, kind: str, index: int, due: datetime) -> None:
        queue = self.queues[settings.queue_of(index)]
        queue.enqueue_at(due, path_of(kind), body_of(kind, index), **OPTIONS)

    def close(self) -> None:
        for queue in self.queues.values():
            queue.connection.close()


if __name__ == "__main__":
    produce(Producer())
