"""A batch consumer whose annotations name what is there for type checkers only, or later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from redispatcher_fastapi import Batch, BatchConsumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi import BatchItem


class Early(BatchConsumer):
    QUEUE = "early"
    BATCH = Batch(size=1)

    class Message(BatchConsumer.Message):
        pass

    async def process_batch(self, items: Sequence[BatchItem[Message, Late]]) -> None: ...


class Late(BaseModel):
    number: int
