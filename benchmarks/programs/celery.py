"""Celery with Redis as its broker, in threads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import Celery
from pydantic import BaseModel

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

KEEPS_RESULTS = settings.KIND == "result"

app = Celery(
    "bench",
    broker=settings.REDIS_URL,
    backend=settings.REDIS_URL if KEEPS_RESULTS else None,
)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=not KEEPS_RESULTS,
    task_default_queue=settings.QUEUES[0],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


@app.task(name="noop")
def noop(message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


@app.task(name="large")
def large(message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


@app.task(name="result")
def result(message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


@app.task(name="sleep")
def sleep(message: dict[str, Any]) -> None:
    jobs.run_sleep_blocking(Message.model_validate(message).index)


@app.task(name="thread")
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
        TASKS[kind].apply_async((body_of(kind, index),), queue=settings.queue_of(index))

    def publish_at(self, kind: str, index: int, due: datetime) -> None:
        TASKS[kind].apply_async((body_of(kind, index),), queue=settings.queue_of(index), eta=due)

    def close(self) -> None:
        app.close()


if __name__ == "__main__":
    produce(Producer())
