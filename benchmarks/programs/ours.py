"""This library: validation, lease, fence and hooks, as everybody has them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from os import environ
from typing import Annotated, Any

from fastapi import Depends

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start
from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    Publisher,
    Redispatcher,
    RedispatcherConfig,
)


class Noop(BaseConsumer):
    class Message(BaseConsumer.Message):
        index: int
        email: str
        name: str
        registered: bool

    async def process_message(self, message: Message) -> None:
        record_start(message.index)


class Large(BaseConsumer):
    class Message(Noop.Message):
        text: str

    async def process_message(self, message: Message) -> None:
        record_start(message.index)


async def get_mailer(
    settings: Annotated[jobs.Settings, Depends(jobs.get_settings)],
) -> jobs.Mailer:
    return jobs.make_mailer(settings)


class WithTwoDependencies(BaseConsumer):
    class Message(Noop.Message):
        pass

    async def process_message(
        self,
        message: Message,
        mailer: Annotated[jobs.Mailer, Depends(get_mailer)],
        settings: Annotated[jobs.Settings, Depends(jobs.get_settings)],
    ) -> None:
        record_start(message.index)


class Result(BaseConsumer):
    class Message(Noop.Message):
        pass

    async def process_message(self, message: Message) -> str:
        record_start(message.index)
        return jobs.result_of(message.index)


class Sleep(BaseConsumer):
    class Message(Noop.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await jobs.run_sleep(message.index)


class Thread(BaseConsumer):
    class Message(Noop.Message):
        pass

    def process_message(self, message: Message) -> None:
        jobs.run_thread(message.index)


KINDS: dict[str, type[BaseConsumer]] = {
    "noop": Noop,
    "large": Large,
    "depends": WithTwoDependencies,
    "result": Result,
    "sleep": Sleep,
    "thread": Thread,
}


def make_consumer(queue: str) -> type[BaseConsumer]:
    """Return the consumer of one queue, of the kind of jobs this run has."""
    base = KINDS[settings.KIND]
    consumer: type[BaseConsumer] = type(f"{base.__name__}Consumer", (base,), {"QUEUE": queue})
    return consumer


consumers = [make_consumer(queue) for queue in settings.QUEUES]
config = RedispatcherConfig(
    redis_dsn=settings.REDIS_URL,
    consumers=[
        ConsumerConfig(consumer_class=consumer, count=settings.SLOTS) for consumer in consumers
    ],
)
if "BENCH_RETENTION" in environ:  # seconds, for the workload that waits until all is forgotten
    seconds = float(environ["BENCH_RETENTION"])
    config = config.model_copy(
        update={
            "publish_timeout": timedelta(seconds=seconds / 2),
            "finished_max_age": timedelta(seconds=seconds),
        }
    )
dispatcher = Redispatcher(config)


class Producer:
    async def start(self) -> None:
        self._lifespan = dispatcher.lifespan()
        await self._lifespan.__aenter__()
        # The type of their messages is known at run time only.
        self._publishers: list[Publisher[Any]] = [dispatcher.publisher(c) for c in consumers]
        self._message = consumers[0].Message

    def _make_message(self, kind: str, index: int) -> Any:
        return self._message.model_validate(jobs.fields_of(kind, index))

    async def publish(self, kind: str, index: int) -> None:
        publisher = self._publishers[index % len(self._publishers)]
        await publisher.publish(self._make_message(kind, index))

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        many = len(self._publishers)
        for offset, publisher in enumerate(self._publishers):
            own = [index for index in indexes if index % many == offset]
            await publisher.publish_many(self._make_message(kind, index) for index in own)

    async def publish_at(self, kind: str, index: int, due: datetime) -> None:
        publisher = self._publishers[index % len(self._publishers)]
        await publisher.publish(self._make_message(kind, index), at=due)

    async def close(self) -> None:
        await self._lifespan.__aexit__(None, None, None)


if __name__ == "__main__":
    produce(Producer())
