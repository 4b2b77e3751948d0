"""Lets calls made at the same time share a round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from redispatcher_fastapi.errors import NotRunningError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class Coalescer(Generic[ItemT, AnswerT]):
    """Sends what comes in while a call is under way together, as the next call.

    A caller that meets no other pays nothing for this: it makes its call itself. ``flush`` gets at
    most ``limit`` items and answers each, in order; what it raises is raised to every caller of
    that batch.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        flush: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        *,
        limit: int = 500,
    ) -> None:
        self._tasks = tasks
        self._flush = flush
        self._limit = limit
        self._is_busy = False
        self._pending: deque[tuple[ItemT, asyncio.Future[AnswerT]]] = deque()

    async def submit(self, item: ItemT) -> AnswerT:
        """Return the answer to one item."""
        if self._is_busy:
            future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
            self._pending.append((item, future))
            return await future
        self._is_busy = True
        try:
            return (await self._flush([item]))[0]
        finally:
            if self._pending:
                self._tasks.create_task(self._pump())
            else:
                self._is_busy = False

    async def _pump(self) -> None:
        try:
            while self._pending:
                batch = [
                    self._pending.popleft() for _ in range(min(self._limit, len(self._pending)))
                ]
                await self._send(batch)
        finally:
            self._is_busy = False
            while self._pending:
                _, future = self._pending.popleft()
                if not future.done():
                    future.set_exception(
                        NotRunningError("The connection to Redis is being closed.")
                    )

    async def _send(self, batch: list[tuple[ItemT, asyncio.Future[AnswerT]]]) -> None:
        waiting = [(item, future) for item, future in batch if not future.done()]
        if not waiting:
            return
        try:
            answers = await self._flush([item for item, _ in waiting])
        except Exception as error:  # each caller raises it where it can be handled
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(
                        NotRunningError("The connection to Redis is being closed.")
                    )
            raise
        else:
            for (_, future), answer in zip(waiting, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
