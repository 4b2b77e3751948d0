"""Consumers whose jobs follow from others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from redispatcher_fastapi import BaseConsumer, Fixed, GroupResult, JobContext, RetryPolicy
from tests.reliability.observed import Observed


class Ending(Observed):
    """The second of two steps, of which :class:`Beginning` is the first."""

    QUEUE = "ending"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message) -> int:
        return message.number


class Beginning(Observed):
    """Each second one fails at first, and all take a moment."""

    QUEUE = "beginning"
    RETRY = RetryPolicy(max_attempts=2, backoff=Fixed(timedelta(milliseconds=300)))

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message, context: JobContext) -> Ending.Message:
        await asyncio.sleep(0.01)
        if message.number % 2 and context.attempt == 1:
            raise ValueError("odd")
        return Ending.Message(number=message.number)


class Joining(Observed):
    """Follows a group of :class:`Ending`."""

    QUEUE = "joining"

    class Message(GroupResult[int]):
        pass

    async def process_message(self, message: Message) -> int:
        return sum(each or 0 for each in message.results)
