"""The producer of every workload: `python -m benchmarks.programs.PROGRAM COMMAND --count N ...`.

Prints one line of JSON: how many jobs were published, in how many seconds, with how much CPU time.
Standard library only: programs of peers import this in their own environments.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from benchmarks.recorder import record_due, record_publish

CHUNK = 1_000
THREADS = 40
"""Callers of a sync library at once: as many threads as FastAPI has for endpoints."""


class AsyncProducer(Protocol):
    """What a program writes for its library. It may have two more methods.

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None
        where the library can publish many jobs at once; it gets up to 1,000 of them.
    async def publish_at(self, kind: str, index: int, due: datetime) -> None
        where the library has delayed jobs; due has the time zone UTC.
    """

    async def start(self) -> None: ...
    async def publish(self, kind: str, index: int, /) -> None: ...
    async def close(self) -> None: ...


class SyncProducer(Protocol):
    """The same for a library without asyncio: all of its methods are sync."""

    def start(self) -> None: ...
    def publish(self, kind: str, index: int, /) -> None: ...
    def close(self) -> None: ...


def produce(producer: AsyncProducer | SyncProducer) -> None:
    """Do what the command line says; a program calls it under ``if __name__ == "__main__"``."""
    order = _read_order(sys.argv[1:])
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):  # the environment of an asyncio library has it
        from uvloop import new_event_loop as loop_factory
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        elapsed, cpu = runner.run(_run(producer, order))
    print(json.dumps({"jobs": order.count, "elapsed": elapsed, "cpu": cpu}))  # noqa: T201


def _read_order(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("--kind", default="noop")
    parser.add_argument("--first", type=int, default=0, help="index of the first job")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--callers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="jobs per second")
    parser.add_argument("--delay", type=float, default=1.0, help="seconds")
    return parser.parse_args(arguments)


async def _run(
    producer: AsyncProducer | SyncProducer, order: argparse.Namespace
) -> tuple[float, float]:
    await _call(producer.start)
    await asyncio.sleep(0.2)  # what a client starts in the background is not measured
    began, cpu = time.perf_counter(), time.process_time()
    try:
        await _COMMANDS[order.command](producer, order)
        return time.perf_counter() - began, time.process_time() - cpu
    finally:
        await _call(producer.close)


async def _call(method: Callable[..., Any], *arguments: object) -> None:
    answer = method(*arguments)
    if inspect.isawaitable(answer):
        await answer


def _indexes(order: argparse.Namespace) -> range:
    return range(order.first, order.first + order.count)


async def _sequential(producer: Any, order: argparse.Namespace) -> None:
    """One job at a time, each awaited."""
    for index in _indexes(order):
        await _call(producer.publish, order.kind, index)


async def _concurrent(producer: Any, order: argparse.Namespace) -> None:
    """From many callers at once, each of which awaits its own; threads, for a sync library."""
    indexes = iter(_indexes(order))
    if inspect.iscoroutinefunction(producer.publish):

        async def call() -> None:
            for index in indexes:
                await producer.publish(order.kind, index)

        await asyncio.gather(*(call() for _ in range(order.callers)))
        return

    def publish(index: int) -> None:
        producer.publish(order.kind, index)

    with ThreadPoolExecutor(min(order.callers, THREADS)) as threads:
        for _ in threads.map(publish, indexes):
            pass


async def _bulk(producer: Any, order: argparse.Namespace) -> None:
    """By the library's own way to publish many."""
    indexes = _indexes(order)
    for first in range(0, len(indexes), CHUNK):
        await _call(producer.publish_many, order.kind, indexes[first : first + CHUNK])


async def _fill(producer: Any, order: argparse.Namespace) -> None:
    """By the fastest way there is: this is not measured."""
    has_bulk = hasattr(producer, "publish_many")
    await (_bulk if has_bulk else _concurrent)(producer, order)


async def _steady(producer: Any, order: argparse.Namespace) -> None:
    """At a rate, whether or not earlier jobs have been published (an open loop)."""
    began = time.monotonic()

    async def publish(index: int) -> None:
        record_publish(index)
        await _call(producer.publish, order.kind, index)

    async with asyncio.TaskGroup() as tasks:
        for number, index in enumerate(_indexes(order)):
            early = began + number / order.rate - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            elif number % 100 == 0:
                await asyncio.sleep(0)
            tasks.create_task(publish(index))


async def _delayed(producer: Any, order: argparse.Namespace) -> None:
    """At a rate, each due a delay after it was published."""
    began = time.monotonic()
    for number, index in enumerate(_indexes(order)):
        await asyncio.sleep(max(0.0, began + number / order.rate - time.monotonic()))
        await _publish_at(producer, order, index, time.monotonic() + order.delay)


async def _burst(producer: Any, order: argparse.Namespace) -> None:
    """All due at one moment, a delay from now; 100 callers publish them at once."""
    due = time.monotonic() + order.delay
    indexes = iter(_indexes(order))

    async def call() -> None:
        for index in indexes:
            await _publish_at(producer, order, index, due)

    await asyncio.gather(*(call() for _ in range(order.callers)))


async def _publish_at(producer: Any, order: argparse.Namespace, index: int, due: float) -> None:
    record_due(index, due)
    wait = timedelta(seconds=due - time.monotonic())
    await _call(producer.publish_at, order.kind, index, datetime.now(UTC) + wait)


_COMMANDS = {
    "sequential": _sequential,
    "concurrent": _concurrent,
    "bulk": _bulk,
    "fill": _fill,
    "steady": _steady,
    "delayed": _delayed,
    "burst": _burst,
}
