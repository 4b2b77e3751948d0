"""taskiq with a broker on a Redis list: what a worker took and did not finish is lost with it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel
from taskiq import TaskiqDepends
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

broker = ListQueueBroker(settings.REDIS_URL, queue_name=settings.QUEUES[0]).with_serializer(
    ORJSONSerializer()
)
if settings.KIND == "result":
    broker = broker.with_result_backend(RedisAsyncResultBackend(settings.REDIS_URL))


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


@broker.task(task_name="noop")
async def noop(message: Message) -> None:
    record_start(message.index)


@broker.task(task_name="large")
async def large(message: LargeMessage) -> None:
    record_start(message.index)


async def get_mailer(
    settings: Annotated[jobs.Settings, TaskiqDepends(jobs.get_settings)],
) -> jobs.Mailer:
    return jobs.make_mailer(settings)


@broker.task(task_name="depends")
async def depends(
    message: Message,
    mailer: Annotated[jobs.Mailer, TaskiqDepends(get_mailer)],
    settings: Annotated[jobs.Settings, TaskiqDepends(jobs.get_settings)],
) -> None:
    record_start(message.index)


@broker.task(task_name="result")
async def result(message: Message) -> str:
    record_start(message.index)
    return jobs.result_of(message.index)


@broker.task(task_name="sleep")
async def sleep(message: Message) -> None:
    await jobs.run_sleep(message.index)


@broker.task(task_name="thread")
def thread(message: Message) -> None:
    jobs.run_thread(message.index)


TASKS = {
    "noop": noop,
    "large": large,
    "depends": depends,
    "result": result,
    "sleep": sleep,
    "thread": thread,
}


def message_of(kind: str, index: int) -> Message:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index))


class Producer:
    async def start(self) -> None:
        await broker.startup()

    async def publish(self, kind: str, index: int) -> None:
        await TASKS[kind].kiq(message_of(kind, index))

    async def close(self) -> None:
        await broker.shutdown()


if __name__ == "__main__":
    produce(Producer())
