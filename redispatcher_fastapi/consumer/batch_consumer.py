"""``BatchConsumer``: what consumers inherit from that take many messages at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Never

from redispatcher_fastapi.consumer.base import BaseConsumer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redispatcher_fastapi.consumer.batch import Batch, BatchItem


class BatchConsumer(BaseConsumer):
    """Work that is better done on many messages at once than on each of them.

    A subclass says in ``BATCH`` how many, and overrides ``process_batch`` instead of
    ``process_message``. To publishers, each message is a job of its own.
    """

    BATCH: ClassVar[Batch]
    __redispatcher_method__ = "process_batch"

    # The one signature that every override is compatible with.
    def process_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; ``async def``, or ``def`` to be run in a thread.

        The items are the first parameter, a ``Sequence[BatchItem[Message, Result]]``; all others
        have a ``Depends``, which is opened once for the batch. It returns nothing.
        """
        raise NotImplementedError

    def process_message(self) -> Never:
        """Stand in the way of an override: a batch consumer has ``process_batch`` instead."""
        raise NotImplementedError

    async def around_batch(
        self, run: Callable[[], Awaitable[None]], items: Sequence[BatchItem[Any, Any]]
    ) -> None:
        """Run one batch: an override does something before and after.

        It takes the place of ``around``. Overrides nest by ``super().around_batch(run, items)``.
        """
        await run()
