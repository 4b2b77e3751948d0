"""Jobs of all kinds, the consumers that run them, and the configuration of their pools."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal

from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    ConsumerConfig,
    Fixed,
    JobContext,
    Ordered,
    RedispatcherConfig,
    RetryPolicy,
    StopReason,
)
from tests.chaos.journal import note

Kind = Literal[
    "quick",
    "steady",
    "long",
    "block",
    "flaky",
    "raise",
    "crash",
    "limited",
    "ordered",
    "unique",
    "cancelled",
    "expiring",
]

#: How a job of each kind ends, whatever befalls the processes that run it.
POISON: frozenset[Kind] = frozenset({"raise", "crash"})
#: How long these take, in leases.
_LEASES: Mapping[Kind, float] = {"long": 1.6, "block": 1.3}

#: The delivery that runs: what :mod:`tests.chaos.worker` takes from the pool's hook.
current_run: ContextVar[str] = ContextVar("current_run")


class Work(BaseConsumer):
    """Returns which delivery of the job it was."""

    QUEUE = "work"
    RESULT_TTL = timedelta(seconds=float(os.environ.get("CHAOS_RESULT_TTL", "3600")))
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=150)))

    class Message(BaseConsumer.Message):
        kind: Kind
        seconds: float

    async def process_message(self, message: Message, context: JobContext) -> str:
        run = current_run.get()
        note("started", context.id, run)
        match message.kind:
            case "block":
                time.sleep(message.seconds)  # noqa: ASYNC251  # the mistake that is to do no harm
            case "crash":
                await asyncio.sleep(message.seconds)
                note("crashing", context.id, run)
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                try:
                    await asyncio.sleep(message.seconds)
                except asyncio.CancelledError:
                    if context.stop_reason is StopReason.CANCELLED:
                        note("cancelled", context.id, run)
                    raise
        if message.kind == "raise" or (message.kind == "flaky" and context.attempt < 3):
            note("raised", context.id, run)
            raise ValueError("not this time")
        note("finished", context.id, run)
        return run


class Errand(BaseConsumer):
    """Does the same in a thread."""

    QUEUE = "errand"
    RESULT_TTL = Work.RESULT_TTL
    RETRY = Work.RETRY

    class Message(BaseConsumer.Message):
        seconds: float

    def process_message(self, message: Message, context: JobContext) -> str:
        run = current_run.get()
        note("started", context.id, run)
        time.sleep(message.seconds)
        note("finished", context.id, run)
        return run


class Visit(BaseConsumer):
    """Is one at a time for each host, and the only one of its name while that is asked for."""

    QUEUE = "visit"
    RESULT_TTL = Work.RESULT_TTL
    LIMITS = (Concurrency(1, key="host"),)

    class Message(BaseConsumer.Message):
        host: str
        name: str
        seconds: float

    async def process_message(self, message: Message, context: JobContext) -> str:
        return await _keep_busy(message.seconds, context, is_failing=False)


class Entry(BaseConsumer):
    """Follows the one that was published before it for the same account, even if that failed."""

    QUEUE = "entry"
    RESULT_TTL = Work.RESULT_TTL
    RETRY = Work.RETRY
    LIMITS = (Ordered(key="account"),)

    class Message(BaseConsumer.Message):
        account: str
        is_failing: bool
        seconds: float

    async def process_message(self, message: Message, context: JobContext) -> str:
        is_failing = message.is_failing and context.attempt == 1
        return await _keep_busy(message.seconds, context, is_failing=is_failing)


async def _keep_busy(seconds: float, context: JobContext, *, is_failing: bool) -> str:
    run = current_run.get()
    note("started", context.id, run)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("interrupted", context.id, run)  # as when its process has lost its lease
        raise
    note("raised" if is_failing else "finished", context.id, run)
    if is_failing:
        raise ValueError("not this time")
    return run


QUEUES = (Work.QUEUE, Errand.QUEUE, Visit.QUEUE, Entry.QUEUE)


def make_work(kind: Kind, lease: timedelta, chance: random.Random) -> Work.Message:
    """Return a job of one kind that takes as long as its kind does."""
    if leases := _LEASES.get(kind):
        return Work.Message(kind=kind, seconds=leases * lease.total_seconds())
    seconds = {"steady": 1.0, "cancelled": 60.0}.get(kind, chance.uniform(0.0, 0.03))
    return Work.Message(kind=kind, seconds=seconds)


def make_config(environment: Mapping[str, str]) -> RedispatcherConfig:
    """Return the configuration of a pool; the DSN is read by the library itself."""
    return RedispatcherConfig(
        consumers=[
            ConsumerConfig(consumer_class=Work, count=10),
            ConsumerConfig(consumer_class=Errand, count=4),
            ConsumerConfig(consumer_class=Visit, count=4),
            ConsumerConfig(consumer_class=Entry, count=4),
        ],
        lease=timedelta(seconds=float(environment["CHAOS_LEASE"])),
        grace_period=timedelta(seconds=float(environment["CHAOS_GRACE"])),
        # Every job must still be known when it is judged.
        finished_max_count=int(environment.get("CHAOS_KEPT", "1000000")),
        dead_max_count=int(environment.get("CHAOS_KEPT", "1000000")),
        finished_max_age=timedelta(hours=48),
    )
