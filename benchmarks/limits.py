"""`python -m benchmarks.limits`: what limits cost, beside the same jobs without any.

One pool runs jobs that do nothing, as fast as it can; all variants take turns, round after round.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.servers import Server
from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    ConsumerConfig,
    ConsumerPool,
    Fair,
    Ordered,
    RateLimit,
    Redispatcher,
    RedispatcherConfig,
)

_BATCH = 1000
_SLOTS = 100
_HIGH = 1_000_000


class Plain(BaseConsumer):
    """A consumer without limits, and the base of those with some."""

    QUEUE = "plain"

    class Message(BaseConsumer.Message):
        tenant: str

    async def process_message(self, message: Message) -> None: ...


class Total(Plain):
    QUEUE = "total"
    LIMITS = (Concurrency(_SLOTS),)

    async def process_message(self, message: Plain.Message) -> None: ...


class InTurn(Plain):
    QUEUE = "fair"
    LIMITS = (Fair(key="tenant"),)

    async def process_message(self, message: Plain.Message) -> None: ...


class Single(Plain):
    QUEUE = "single"
    LIMITS = (Concurrency(1, key="tenant"),)

    async def process_message(self, message: Plain.Message) -> None: ...


class InOrder(Plain):
    QUEUE = "ordered"
    LIMITS = (Ordered(key="tenant"),)

    async def process_message(self, message: Plain.Message) -> None: ...


class Rated(Plain):
    QUEUE = "rated"
    LIMITS = (RateLimit(_HIGH, per=timedelta(seconds=10), key="tenant"),)

    async def process_message(self, message: Plain.Message) -> None: ...


@dataclass(frozen=True)
class Measured:
    """What one run of one consumer took; times of Redis are microseconds of its CPU per job."""

    jobs_per_second: float
    redis_publish: float
    redis_run: float


VARIANTS: dict[str, tuple[type[Any], int]] = {
    "no limits": (Plain, 1),
    "Concurrency of the queue": (Total, 1),
    "Fair, 1,000 keys": (InTurn, 1000),
    "Concurrency(1), 1,000 keys": (Single, 1000),
    "Ordered, 1,000 keys": (InOrder, 1000),
    "RateLimit, 1,000 keys": (Rated, 1000),
    "Fair, 20,000 keys": (InTurn, 20_000),
}


def main(
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs per run.")] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs.")] = 5,
) -> None:
    """Measure the throughput of one pool, and the CPU time of Redis per job."""
    logging.disable(logging.WARNING)  # a server that keeps nothing is what is meant here
    found: dict[str, list[Measured]] = {name: [] for name in VARIANTS}
    with Server() as server:
        for _ in range(rounds):
            for name, (consumer, keys) in VARIANTS.items():
                found[name].append(asyncio.run(_measure(server, consumer, keys, jobs)))
    _say(f"{'':28} {'jobs/s':>8} {'ratio':>6} {'Redis us/job: publish':>22} {'run':>6}")
    plain = median(each.jobs_per_second for each in found["no limits"])
    for name, runs in found.items():
        rate = median(each.jobs_per_second for each in runs)
        publish = median(each.redis_publish for each in runs)
        run = median(each.redis_run for each in runs)
        _say(f"{name:28} {rate:8.0f} {rate / plain:6.2f} {publish:22.1f} {run:6.1f}")


async def _measure(server: Server, consumer: type[Any], keys: int, jobs: int) -> Measured:
    redis: Any = server.client
    redis.flushall()
    each = ConsumerConfig(consumer_class=consumer, count=_SLOTS)
    config = RedispatcherConfig(redis_dsn=server.url, consumers=[each])
    dispatcher = Redispatcher(config)
    async with dispatcher.lifespan():
        publisher: Any = dispatcher.publisher(consumer)
        before = _cpu(server)
        for first in range(0, jobs, _BATCH):
            last = min(jobs, first + _BATCH)
            await publisher.publish_many(
                [Plain.Message(tenant=f"tenant-{number % keys}") for number in range(first, last)]
            )
        published = _cpu(server)
        begin = time.perf_counter()
        await ConsumerPool(config).run(burst=True)
        seconds = time.perf_counter() - begin
        ended = _cpu(server)
    succeeded = int(redis.hget(f"rd:{{{consumer.QUEUE}}}:stats", "succeeded"))
    if succeeded != jobs:
        raise SystemExit(f"{consumer.QUEUE}: {succeeded} of {jobs} jobs were done.")
    return Measured(jobs / seconds, (published - before) / jobs, (ended - published) / jobs)


def _cpu(server: Server) -> float:
    """Return the microseconds of CPU time that Redis has used."""
    return server.cpu_seconds() * 1e6


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    typer.run(main)
