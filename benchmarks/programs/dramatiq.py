"""dramatiq: Redis lists and Lua, threads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from pydantic import BaseModel

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

# Its threads, and two more per queue, need more than the 100 connections of a pool: one that gets
# none waits for 5 seconds.
REDIS_URL = f"{settings.REDIS_URL}?max_connections=1000"
broker = RedisBroker(url=REDIS_URL)
if settings.KIND == "result":
    broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL), store_results=True))
dramatiq.set_broker(broker)


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


def sleep(message: dict[str, Any]) -> None:
    jobs.run_sleep_blocking(Message.model_validate(message).index)


def thread(message: dict[str, Any]) -> None:
    jobs.run_thread(Message.model_validate(message).index)


FUNCTIONS: tuple[Callable[..., Any], ...] = (noop, large, result, sleep, thread)
# An actor belongs to one queue.
ACTORS = {
    (function.__name__, queue): dramatiq.actor(
        function, actor_name=f"{function.__name__}-{queue}", queue_name=queue
    )
    for function in FUNCTIONS
    for queue in settings.QUEUES
}


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    def start(self) -> None:
        pass

    def publish(self, kind: str, index: int) -> None:
        ACTORS[kind, settings.queue_of(index)].send(body_of(kind, index))

    def publish_at(self, kind: str, index: int, due: datetime) -> None:
        delay = due - datetime.now(UTC)
        ACTORS[kind, settings.queue_of(index)].send_with_options(
            args=(body_of(kind, index),), delay=delay
        )

    def close(self) -> None:
        broker.close()


if __name__ == "__main__":
    produce(Producer())
