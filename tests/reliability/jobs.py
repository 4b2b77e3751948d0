"""Consumers that note what happens to them, and the configuration of a pool that runs them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    Concurrency,
    ConsumerConfig,
    Fixed,
    JobContext,
    Ordered,
    RateLimit,
    RedispatcherConfig,
    Reject,
    Retry,
    RetryPolicy,
    Snooze,
)
from tests.reliability.following import Beginning, Ending, Joining
from tests.reliability.observed import Observed
from tests.reliability.oracle import note

RETRY_WAIT = timedelta(milliseconds=300)
OVERDUE_AFTER = timedelta(milliseconds=300)
SNOOZE_WAIT = timedelta(milliseconds=200)


class Timed(Observed):
    """Takes its time, or only in the process ``only_in``; the result names the process."""

    class Message(BaseConsumer.Message):
        seconds: float = 0.0
        only_in: int | None = None

        @property
        def pause(self) -> float:
            return self.seconds if self.only_in in {None, os.getpid()} else 0.0


class Quick(Observed):
    QUEUE = "quick"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> int:
        return os.getpid()


class Slow(Timed):
    """Waits as a good handler does."""

    QUEUE = "slow"

    async def process_message(self, message: Timed.Message) -> int:
        await asyncio.sleep(message.pause)
        return os.getpid()


class Blocking(Timed):
    """Blocks the event loop and everything that runs on it."""

    QUEUE = "blocking"

    async def process_message(self, message: Timed.Message) -> int:
        time.sleep(message.pause)  # noqa: ASYNC251  # the mistake that is to do no harm
        return os.getpid()


class Spinning(Timed):
    """Does the same by keeping the interpreter busy."""

    QUEUE = "spinning"

    async def process_message(self, message: Timed.Message) -> int:
        end = time.monotonic() + message.pause
        while time.monotonic() < end:
            pass
        return os.getpid()


class Threaded(Timed):
    """Runs in a thread, which nothing can stop."""

    QUEUE = "threaded"

    def process_message(self, message: Timed.Message) -> int:
        time.sleep(message.pause)
        return os.getpid()


class Stubborn(Observed):
    """Never ends, and swallows every cancellation."""

    QUEUE = "stubborn"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                note("ignored")


class Killer(Observed):
    """Ends the process it runs in, or is an innocent job of the same consumer."""

    QUEUE = "killer"

    class Message(BaseConsumer.Message):
        seconds: float
        how: Literal["exit", "signal", "innocent"]

    async def process_message(self, message: Message) -> None:
        await asyncio.sleep(message.seconds)
        match message.how:
            case "exit":
                os._exit(1)
            case "signal":
                os.kill(os.getpid(), signal.SIGKILL)
            case "innocent":
                pass


class PlainBaseError(BaseException):
    """What no ``except Exception`` catches."""


ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("no"),
    "cancelled": asyncio.CancelledError,
    "system exit": lambda: SystemExit(3),
    "keyboard": KeyboardInterrupt,
    "generator exit": GeneratorExit,
    "base": PlainBaseError,
    "group": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("no")]),
    "stop": StopAsyncIteration,
    "retry": Retry,
    "reject": lambda: Reject("bad account"),
}


class Failing(Observed):
    """Raises one error per attempt, and succeeds when there are none left."""

    QUEUE = "failing"
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(RETRY_WAIT))

    class Message(BaseConsumer.Message):
        errors: list[str]

    async def process_message(self, message: Message, context: JobContext) -> int:
        if context.attempt <= len(message.errors):
            raise ERRORS[message.errors[context.attempt - 1]]()
        return context.attempt


class Snoozing(Observed):
    """Puts itself off until the machine's monotonic clock has come to a time."""

    QUEUE = "snoozing"

    class Message(BaseConsumer.Message):
        until: float

    async def process_message(self, message: Message, context: JobContext) -> int:
        if time.monotonic() < message.until:
            raise Snooze(SNOOZE_WAIT)
        return context.attempt


class Batched(BatchConsumer):
    """Takes ten at once, for as long as the longest takes; any of them may end the process."""

    QUEUE = "batched"
    BATCH = Batch(size=10, linger=timedelta(milliseconds=100))

    class Message(Timed.Message):
        is_killer: bool = False

    async def around_batch(
        self, run: Callable[[], Awaitable[None]], items: Sequence[BatchItem[Any, Any]]
    ) -> None:
        for item in items:
            note("started", item.id, item.attempt)
            note("alone" if len(items) == 1 else "together", item.id, item.attempt)
        try:
            await run()
        except asyncio.CancelledError:
            for item in items:
                note("cancelled", item.id, item.attempt)
            raise
        for item in items:
            note("finished", item.id, item.attempt)

    async def process_batch(self, items: Sequence[BatchItem[Message, int]]) -> None:
        await asyncio.sleep(max(item.message.pause for item in items))
        if any(item.message.is_killer for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        for item in items:
            item.succeed(os.getpid())


class Overdue(Observed):
    """Exceeds its own time limit, twice."""

    QUEUE = "overdue"
    TIMEOUT = OVERDUE_AFTER
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta()))

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await asyncio.Event().wait()


class Limited(Observed):
    """Takes its time, and may neither run nor start too often."""

    QUEUE = "limited"
    LIMITS = (
        Concurrency(6),
        Concurrency(2, key="tenant"),
        RateLimit(25, per=timedelta(milliseconds=250)),
        RateLimit(4, per=timedelta(milliseconds=150), key="tenant"),
    )

    class Message(BaseConsumer.Message):
        tenant: str
        seconds: float

    async def process_message(self, message: Message) -> None:
        await asyncio.sleep(message.seconds)


class InOrder(Observed):
    """Fails once if it is told to; its jobs have an order for each account."""

    QUEUE = "in-order"
    LIMITS = (Ordered(key="account"),)
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=50)))

    class Message(BaseConsumer.Message):
        account: int
        number: int

    async def process_message(self, message: Message, context: JobContext) -> None:
        await asyncio.sleep(0.01)
        if message.number % 5 == 0 and context.attempt == 1:
            raise ConnectionError


CONSUMERS: tuple[type[BaseConsumer], ...] = (
    Beginning,
    Ending,
    Joining,
    Batched,
    Quick,
    Slow,
    Blocking,
    Spinning,
    Threaded,
    Stubborn,
    Killer,
    Failing,
    Snoozing,
    Overdue,
    Limited,
    InOrder,
)


def make_config(environment: Mapping[str, str]) -> RedispatcherConfig:
    """Return the configuration of a pool process; the DSN is read by the library itself."""
    return RedispatcherConfig(
        consumers=[
            ConsumerConfig(consumer_class=consumer, count=2 if consumer is Batched else 10)
            for consumer in CONSUMERS
        ],
        lease=timedelta(seconds=float(environment["RELIABILITY_LEASE"])),
        grace_period=timedelta(seconds=float(environment["RELIABILITY_GRACE"])),
    )
