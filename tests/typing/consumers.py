"""The consumers that the other files of this folder publish to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    GroupResult,
    JobContext,
    Publisher,
)


class Session:
    name = "session"


async def get_session() -> Session:
    return Session()


class SendEmail(BaseConsumer):
    QUEUE = "send-email"

    class Message(BaseConsumer.Message):
        address: str

    async def process_message(self, message: Message) -> None: ...


class Resize(BaseConsumer):
    """Asynchronous, with every kind of parameter."""

    QUEUE = "resize"

    class Message(BaseConsumer.Message):
        path: str

    class Headers(BaseConsumer.Headers):
        tenant: str = ""

    async def process_message(
        self,
        message: Message,
        headers: Headers,
        context: JobContext,
        session: Annotated[Session, Depends(get_session)],
        *,
        emails: Annotated[Publisher[SendEmail], Depends()],
        limit: int = 3,
    ) -> int:
        await emails.publish(SendEmail.Message(address=session.name))
        return limit


class Report(BaseConsumer):
    """Synchronous."""

    QUEUE = "report"

    class Message(BaseConsumer.Message):
        year: int

    def process_message(self, message: Message) -> list[str]:
        return [str(message.year)]


class Traced(BaseConsumer):
    """A base for others, without a queue."""


class Inherited(Traced):
    QUEUE = "inherited"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> dict[str, int]:
        return {message.text: 1}


class Nightly(Inherited):
    """Inherits ``process_message`` and ``Message`` as they are."""

    QUEUE = "nightly"


class Created(BaseConsumer.Message):
    kind: Literal["created"] = "created"


class Deleted(BaseConsumer.Message):
    kind: Literal["deleted"] = "deleted"


class Index(BaseConsumer):
    """Takes either of two payloads."""

    QUEUE = "index"

    class Message(BaseConsumer.Message):
        event: Annotated[Created | Deleted, Field(discriminator="kind")]

    async def process_message(self, message: Message) -> bool:
        return message.event.kind == "created"


class Enrich(BatchConsumer):
    """Takes batches, with a result for each of their items."""

    QUEUE = "enrich"
    BATCH = Batch(size=10)

    class Message(BatchConsumer.Message):
        path: str

    async def process_batch(
        self,
        items: Sequence[BatchItem[Message, int]],
        session: Annotated[Session, Depends(get_session)],
    ) -> None:
        for item in items:
            item.succeed(len(item.message.path + session.name))


class Store(BatchConsumer):
    """Synchronous, without results."""

    QUEUE = "store"
    BATCH = Batch(size=10)

    class Message(BatchConsumer.Message):
        row: int

    def process_batch(self, items: Sequence[BatchItem[Message]]) -> None:
        for item in items:
            item.succeed()


class StoreElsewhere(Store):
    """Inherits ``process_batch`` and ``Message`` as they are."""

    QUEUE = "store-elsewhere"


class Fetch(BaseConsumer):
    """Returns the message of :class:`Resize`."""

    QUEUE = "fetch"

    class Message(BaseConsumer.Message):
        url: str

    async def process_message(self, message: Message) -> Resize.Message:
        return Resize.Message(path=message.url)


class Scan(BaseConsumer):
    """The same, synchronous, for a batch."""

    QUEUE = "scan"

    class Message(BaseConsumer.Message):
        page: int

    def process_message(self, message: Message) -> Enrich.Message:
        return Enrich.Message(path=str(message.page))


class Total(BaseConsumer):
    """Follows a group whose members return numbers."""

    QUEUE = "total"

    class Message(GroupResult[int]):
        pass

    async def process_message(self, message: Message) -> float:
        return sum(each or 0 for each in message.results) / 2


class Pages(BaseConsumer):
    """Follows a group whose members return lists; synchronous."""

    QUEUE = "pages"

    class Message(GroupResult[list[str]]):
        pass

    def process_message(self, message: Message) -> str:
        return " ".join(line for page in message.results for line in page or ())
