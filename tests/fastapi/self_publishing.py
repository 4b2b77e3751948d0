"""A consumer that publishes to itself, in a module with string annotations."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from redispatcher_fastapi import BaseConsumer, Publisher


class Countdown(BaseConsumer):
    QUEUE = "countdown"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(
        self, message: Message, countdowns: Annotated[Publisher[Countdown], Depends()]
    ) -> str | None:
        if message.number == 0:
            return None
        return (await countdowns.publish(Countdown.Message(number=message.number - 1))).id
