"""Runs a pool inside a test, and publishes to it as an application would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from redispatcher_fastapi import BaseConsumer, ConsumerConfig, ConsumerPool, RedispatcherConfig
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.hooks import PoolHooks
from redispatcher_fastapi.job import Job
from redispatcher_fastapi.middleware import Middleware
from redispatcher_fastapi.publisher import C, Publisher, Publishers

PATIENCE = timedelta(seconds=20)


class RunningPool:
    """A pool that runs, and a sender beside it on the same store."""

    def __init__(self, pool: ConsumerPool, broker: Broker, publishers: Publishers) -> None:
        self.pool = pool
        self.broker = broker
        self._publishers = publishers

    def publisher(self, consumer: type[C]) -> Publisher[C]:
        """Return the publisher of a consumer."""
        return self._publishers.publisher(consumer)

    async def publish(self, message: Any, **options: Any) -> Job[Any]:
        """Publish to the consumer whose message this is."""
        for consumer in BaseConsumer.__subclasses__() + _grandchildren():
            if consumer.Message is type(message):
                publisher: Any = self._publishers.publisher(consumer)
                job: Job[Any] = await publisher.publish(message, **options)
                return job
        raise AssertionError(f"no consumer takes {type(message)}")

    async def perform(self, message: Any, **options: Any) -> Any:
        """Publish, and return the result."""
        job = await self.publish(message, **options)
        return await job.result(PATIENCE)


def _grandchildren() -> list[type[BaseConsumer]]:
    return [
        grandchild
        for child in BaseConsumer.__subclasses__()
        for grandchild in child.__subclasses__()
    ]


@asynccontextmanager
async def running_pool(
    dsn: str,
    *consumers: type[BaseConsumer] | ConsumerConfig,
    hooks: PoolHooks | None = None,
    middleware: Sequence[Middleware] = (),
    **options: Any,
) -> AsyncGenerator[RunningPool, None]:
    """Run a pool for the length of a block, and stop it gracefully at its end."""
    config = RedispatcherConfig(redis_dsn=dsn, consumers=list(consumers), **options)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        async with Sender(broker) as sender, asyncio.TaskGroup() as tasks:
            pool = ConsumerPool(config, broker=broker, hooks=hooks, middleware=middleware)
            tasks.create_task(pool.run())
            publishers = Publishers(
                sender,
                max_message_bytes=config.max_message_bytes,
                sealing=config.sealing,
                middleware=middleware,
            )
            try:
                yield RunningPool(pool, broker, publishers)
            finally:
                await pool.stop()
