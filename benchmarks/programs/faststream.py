"""FastStream on a Redis stream, with its documented second reader for what a lost worker left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

from faststream import Depends, FastStream
from faststream.redis import RedisBroker, StreamSub
from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

GROUP = "bench"
CONSUMER = f"worker-{os.getpid()}"
CLAIM_AFTER = 60_000

# Each subscriber blocks a connection, and 50 queues have more than the 100 of a pool.
broker = RedisBroker(settings.REDIS_URL, logger=None, max_connections=1000)
app = FastStream(broker, logger=None)


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


async def noop(message: Message) -> None:
    record_start(message.index)


async def large(message: LargeMessage) -> None:
    record_start(message.index)


async def get_mailer(
    settings: Annotated[jobs.Settings, Depends(jobs.get_settings)],
) -> jobs.Mailer:
    return jobs.make_mailer(settings)


async def depends(
    message: Message,
    mailer: Annotated[jobs.Mailer, Depends(get_mailer)],
    settings: Annotated[jobs.Settings, Depends(jobs.get_settings)],
) -> None:
    record_start(message.index)


async def sleep(message: Message) -> None:
    await jobs.run_sleep(message.index)


def thread(message: Message) -> None:
    jobs.run_thread(message.index)


HANDLERS: dict[str, Callable[..., Any]] = {
    "noop": noop,
    "large": large,
    "depends": depends,
    "sleep": sleep,
    "thread": thread,
}


def subscribe(handler: Callable[..., Any], stream: str) -> None:
    # Without max_records one read returns the whole backlog.
    new = StreamSub(stream, group=GROUP, consumer=CONSUMER, max_records=settings.SLOTS)
    left = StreamSub(stream, group=GROUP, consumer=CONSUMER, min_idle_time=CLAIM_AFTER)
    broker.subscriber(stream=left)(
        broker.subscriber(stream=new, max_workers=settings.SLOTS)(handler)
    )


if settings.KIND in HANDLERS:  # a stream has one type of message, so a run subscribes to its own
    for queue in settings.QUEUES:
        subscribe(HANDLERS[settings.KIND], queue)


def message_of(kind: str, index: int) -> Message:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index))


class Producer:
    """Has a broker of its own: one that has subscribers would start them, too."""

    async def start(self) -> None:
        self.broker = RedisBroker(settings.REDIS_URL, logger=None)
        self.redis = Redis.from_url(settings.REDIS_URL)
        await self.broker.connect()
        # A worker that makes the group skips what was published before it.
        for queue in settings.QUEUES:
            with suppress(ResponseError):  # it exists
                await self.redis.xgroup_create(queue, GROUP, id="0", mkstream=True)

    async def publish(self, kind: str, index: int) -> None:
        await self.broker.publish(message_of(kind, index), stream=settings.queue_of(index))

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for index in indexes:
                await self.broker.publish(
                    message_of(kind, index), stream=settings.queue_of(index), pipeline=pipeline
                )
            await pipeline.execute()

    async def close(self) -> None:
        await self.redis.aclose()
        await self.broker.stop()


if __name__ == "__main__":
    produce(Producer())
