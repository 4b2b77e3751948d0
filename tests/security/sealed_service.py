"""What a process of its own runs in the tests of sealing."""

from __future__ import annotations

import os

from redispatcher_fastapi import BaseConsumer, RedispatcherConfig
from tests.security import keys


class Pay(BaseConsumer):
    QUEUE = "pay"

    class Message(BaseConsumer.Message):
        card: str

    class Headers(BaseConsumer.Headers):
        trace: str = ""

    async def process_message(self, message: Message, headers: Headers) -> str | None:
        return f"{message.card} {headers.trace}" if message.card else None


class Note(BaseConsumer):
    """Takes no headers and returns nothing, ever."""

    QUEUE = "note"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> None:
        assert message.text


def make_config(kind: str, dsn: str | None = None) -> RedispatcherConfig:
    """Return a configuration whose sealing is one of ``tests.security.keys``."""
    return RedispatcherConfig(redis_dsn=dsn, consumers=[Pay, Note], sealing=getattr(keys, kind)())


def __getattr__(name: str) -> RedispatcherConfig:
    if name != "config":
        raise AttributeError(name)
    return make_config(os.environ["SEALED_KIND"])
