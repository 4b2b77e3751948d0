"""Publishers that do not stop, and what became of each job whose publish was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, pairwise
from time import monotonic

from redispatcher_fastapi import (
    BaseConsumer,
    PublishUncertainError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.keys import queue_prefix
from tests.reliability.jobs import Quick
from tests.reliability.oracle import Oracle
from tests.servers import RedisServer
from tests.waiting import wait_until

PUBLISH_TIMEOUT = timedelta(seconds=1)
PUBLISHERS = 4
_PAUSE = 0.005


@dataclass
class Load:
    """What was acknowledged, and when by the machine's monotonic clock."""

    consumer: type[BaseConsumer]
    acknowledged: dict[str, float] = field(default_factory=dict[str, float])
    #: Publishes that had to be repeated.
    repeated: int = 0
    #: Kinds of errors other than an uncertain publish: there must be none.
    errors: list[Exception] = field(default_factory=list[Exception])

    async def wait_for_more(self, number: int) -> None:
        """Return once so many more jobs are acknowledged."""
        goal = len(self.acknowledged) + number
        await wait_until(lambda: len(self.acknowledged) >= goal, timeout=timedelta(seconds=45))

    def longest_gap(self, since: float) -> float:
        """Return the longest time in seconds without an acknowledgement, from this time on."""
        times = sorted(at for at in self.acknowledged.values() if at > since)
        return max(later - earlier for earlier, later in pairwise([since, *times]))

    def acknowledged_after(self, time: float) -> set[str]:
        """Return the jobs whose publish returned after this time."""
        return {job_id for job_id, at in self.acknowledged.items() if at > time}


@asynccontextmanager
async def load(
    dsn: str, consumer: type[BaseConsumer] = Quick, *, confirmed_replicas: int = 0
) -> AsyncGenerator[Load]:
    """Publish for the length of a block, each job until its publish is acknowledged."""
    config = RedispatcherConfig(
        redis_dsn=dsn, publish_timeout=PUBLISH_TIMEOUT, confirmed_replicas=confirmed_replicas
    )
    dispatcher = Redispatcher(config)
    done = Load(consumer)
    is_over = asyncio.Event()
    numbers = count()

    async def publish_on() -> None:
        publisher = dispatcher.publisher(consumer)
        while not is_over.is_set():
            job_id = f"{consumer.QUEUE}-{next(numbers)}"
            while True:
                try:
                    await publisher.publish(consumer.Message(), id=job_id)
                except PublishUncertainError:
                    done.repeated += 1
                except Exception as error:
                    done.errors.append(error)
                    return
                else:
                    done.acknowledged[job_id] = monotonic()
                    break
            await asyncio.sleep(_PAUSE)

    async with dispatcher.lifespan(), asyncio.TaskGroup() as tasks:
        for _ in range(PUBLISHERS):
            tasks.create_task(publish_on())
        try:
            yield done
        finally:
            is_over.set()


def finished(oracle: Oracle) -> set[str]:
    """Return the jobs that ran to their end."""
    return {entry.job_id for entry in oracle.entries("finished")}


def known_to(server: RedisServer, consumer: type[BaseConsumer] = Quick) -> set[str]:
    """Return the jobs of which a server has a record."""
    with server.client() as admin:
        return set(admin.execute_command("HKEYS", f"{queue_prefix(consumer.QUEUE)}jobs"))


def known_on_disk(server: RedisServer, consumer: type[BaseConsumer] = Quick) -> set[str]:
    """Return the same of a server that is not running, without a sentinel hearing of it."""
    with RedisServer(server.directory, is_durable=True) as alone:
        return known_to(alone, consumer)


def first_start_after(oracle: Oracle, time: float, jobs: Iterable[str]) -> float:
    """Return seconds until the first of these jobs started after this time."""
    wanted = set(jobs)
    return min(
        entry.at - time
        for entry in oracle.entries("started")
        if entry.at > time and entry.job_id in wanted
    )
