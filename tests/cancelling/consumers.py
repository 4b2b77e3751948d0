"""Consumers that do with a cancellation what they are told, and note what happens to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Depends

from redispatcher_fastapi import BaseConsumer, Fixed, JobContext, RetryPolicy, StopRequested

Way = Literal["raise", "return", "fail", "ignore", "own"]
HOUR = timedelta(hours=1)


class Notes:
    """What happened, in order; any thread may add to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        with self._lock:
            self.lines.append(line)

    def has(self, *lines: str) -> Callable[[], bool]:
        """Return a condition to wait for."""
        return lambda: self.lines[: len(lines)] == [*lines]


class Threads:
    """How many threads run a handler: one that is left behind would add to the next test."""

    def __init__(self) -> None:
        self._count = 0
        self._ended = threading.Condition()

    def __enter__(self) -> None:
        with self._ended:
            self._count += 1

    def __exit__(self, *exception: object) -> None:
        with self._ended:
            self._count -= 1
            self._ended.notify_all()

    def wait_until_ended(self) -> None:
        with self._ended:
            assert self._ended.wait_for(lambda: self._count == 0, timeout=30)


notes = Notes()
threads = Threads()
#: Lets what was told to wait go on, a thread too.
go_on = threading.Event()


async def get_session() -> AsyncGenerator[str]:
    try:
        yield "a session"
    except BaseException as error:
        await asyncio.sleep(0)
        notes.add(f"session: {type(error).__name__}")
        raise
    finally:
        await asyncio.sleep(0.01)
        notes.add("session closed")


class Long(BaseConsumer):
    """Runs until it is cancelled; does then what the message says."""

    QUEUE = "long"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(HOUR))

    class Message(BaseConsumer.Message):
        name: str = "job"
        way: Way = "raise"
        #: How many cancellations are ignored.
        ignored: int = 0

    async def process_message(
        self,
        message: Message,
        context: JobContext,
        session: Annotated[str, Depends(get_session)],
    ) -> str:
        notes.add(f"{message.name} started")
        if message.way == "own":
            raise asyncio.CancelledError
        cancellations = 0
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                notes.add(f"{message.name}: {context.stop_reason}")
                cancellations += 1
                if cancellations <= message.ignored:
                    continue
                if message.way == "fail":
                    raise ValueError("it broke while it was cleaning up") from None
                if message.way == "return":
                    return "done all the same"
                raise


class Timed(Long):
    QUEUE = "timed"
    TIMEOUT = timedelta(milliseconds=50)

    class Message(Long.Message):
        pass


class Threaded(BaseConsumer):
    """Runs in a thread until it is told to stop, or may go on."""

    QUEUE = "threaded"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(HOUR))

    class Message(BaseConsumer.Message):
        is_asking: bool = True

    def process_message(self, message: Message, context: JobContext) -> str:
        with threads:
            return self._wait(message, context)

    def _wait(self, message: Message, context: JobContext) -> str:
        notes.add("started")
        has_heard = False
        while not go_on.wait(0.005):
            if not context.cancellation.is_requested:
                continue
            if not has_heard:
                has_heard = True
                notes.add("heard")
            if message.is_asking:
                try:
                    context.cancellation.raise_if_requested()
                except StopRequested as error:
                    notes.add(f"stopped: {error.reason}")
                    raise
        notes.add(f"went on: {context.cancellation.is_requested}")
        return "done all the same"


class ThreadedTimed(Threaded):
    QUEUE = "threaded-timed"
    TIMEOUT = timedelta(milliseconds=1500)

    class Message(Threaded.Message):
        pass
