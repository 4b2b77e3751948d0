"""What the tests of the command line publish: consumers that can be held up."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from redispatcher_fastapi.consumer import BaseConsumer
from tests.waiting import wait_until

#: Not written where it is used: a traceback shows the line, and must not show the value.
_INPUT = "a secret number"


class Echo(BaseConsumer):
    """Ends at once."""

    QUEUE = "echo"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> str:
        return f"{message.text}!"


class Held(BaseConsumer):
    """Runs until the file exists."""

    QUEUE = "held"

    class Message(BaseConsumer.Message):
        until: Path

    async def process_message(self, message: Message) -> int:
        await wait_until(message.until.exists)
        return os.getpid()


class Endless(BaseConsumer):
    """Never ends by itself."""

    QUEUE = "endless"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await asyncio.Event().wait()


class Stuck(BaseConsumer):
    """Holds a thread far longer than any test waits, and cannot be cancelled."""

    QUEUE = "stuck"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await asyncio.to_thread(threading.Event().wait, 3600)


class Failing(BaseConsumer):
    """Fails with a text that holds its message."""

    QUEUE = "failing"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message) -> None:
        self.Message.model_validate({"number": _INPUT})


async def original() -> str:
    return "original"


async def overriding() -> str:
    return "overridden"


def read_greeting(connection: HTTPConnection) -> str:
    return f"{connection.app.state.greeting} {connection.state.name}"


class Seeing(BaseConsumer):
    """Tells what its dependencies see of the application."""

    QUEUE = "seeing"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self,
        message: Message,
        greeting: Annotated[str, Depends(read_greeting)],
        override: Annotated[str, Depends(original)],
    ) -> str:
        return f"{greeting} {override}"
