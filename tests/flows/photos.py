"""The consumers of the tests of chains and groups."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    Fixed,
    GroupResult,
    JobContext,
    RetryPolicy,
)

ONCE = RetryPolicy(max_attempts=1)


class Upload(BaseConsumer):
    QUEUE = "upload"
    RETRY = ONCE

    class Message(BaseConsumer.Message):
        size: int

    async def process_message(self, message: Message) -> str:
        if message.size == 13:
            raise ValueError("unlucky")
        return f"uploaded {message.size}"


class Resize(BaseConsumer):
    QUEUE = "resize"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta(milliseconds=1)))
    LIMITS = (Concurrency(1, key="path"),)

    class Headers(BaseConsumer.Headers):
        tenant: str = "nobody"

    class Message(BaseConsumer.Message):
        path: str

    async def process_message(
        self, message: Message, headers: Headers, context: JobContext
    ) -> Upload.Message:
        if message.path == "flaky" and context.attempt == 1:
            raise ConnectionError("try again")
        if message.path == "tenant":
            return Upload.Message(size=len(headers.tenant))
        return Upload.Message(size=len(message.path))


class Fetch(BaseConsumer):
    QUEUE = "fetch"
    RETRY = ONCE

    class Message(BaseConsumer.Message):
        url: str

    async def process_message(self, message: Message) -> Resize.Message:
        if message.url == "missing":
            raise LookupError("404")
        if message.url == "slow":
            await asyncio.Event().wait()
        return Resize.Message(path=message.url)


class Part(BaseConsumer):
    QUEUE = "part"
    RETRY = ONCE

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message) -> int:
        if message.number < 0:
            raise ValueError("negative")
        if message.number == 1000:
            await asyncio.Event().wait()
        return message.number * 2


class Collect(BaseConsumer):
    QUEUE = "collect"

    class Message(GroupResult[int]):
        pass

    async def process_message(self, message: Message) -> str:
        failed = [(each.number, each.reason) for each in message.failed]
        return f"{message.results} {failed}"


ALL = (Fetch, Resize, Upload, Part, Collect)
