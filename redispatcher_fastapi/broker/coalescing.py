"""Lets calls made at the same time share a round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redispatcher_fastapi.errors import NotRunningError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


@dataclass(slots=True)
class _Waiting(Generic[ItemT, AnswerT]):
    item: ItemT
    deadline: float
    answer: asyncio.Future[AnswerT]


class Coalescer(Generic[ItemT, AnswerT]):
    """Sends what comes in while a call is under way together, as the next call.

    A caller that meets no other pays nothing for this: it makes its call itself. ``flush`` gets at
    most ``limit`` items and answers each, in order; what it raises is raised to every caller of
    that batch. Whoever has to wait for others does so until its own deadline, and is then raised
    what ``expired`` makes of its item.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        flush: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        *,
        expired: Callable[[ItemT], Exception],
        limit: int = 500,
    ) -> None:
        self._tasks = tasks
        self._flush = flush
        self._expired = expired
        self._limit = limit
        self._is_busy = False
        self._pending: deque[_Waiting[ItemT, AnswerT]] = deque()
        # Those under way, too. Deadlines come in order, so that one timer serves them all.
        self._watched: deque[_Waiting[ItemT, AnswerT]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: ItemT, *, deadline: float) -> AnswerT:
        """Return the answer to one item; ``deadline`` is the loop's time, never an earlier one
        than that of the call before.
        """
        if self._is_busy:
            loop = asyncio.get_running_loop()
            waiting: _Waiting[ItemT, AnswerT] = _Waiting(item, deadline, loop.create_future())
            self._pending.append(waiting)
            self._watched.append(waiting)
            if self._timer is None:
                self._timer = loop.call_at(deadline, self._expire)
            return await waiting.answer
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
            _refuse(self._pending)
            self._pending.clear()
            self._unwatch()

    async def _send(self, batch: list[_Waiting[ItemT, AnswerT]]) -> None:
        waiting = [each for each in batch if not each.answer.done()]
        if not waiting:
            return
        try:
            answers = await self._flush([each.item for each in waiting])
        except Exception as error:  # each caller raises it where it can be handled
            for each in waiting:
                if not each.answer.done():
                    each.answer.set_exception(error)
        except BaseException:
            _refuse(waiting)
            raise
        else:
            for each, answer in zip(waiting, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)
        finally:
            self._unwatch()

    def _unwatch(self) -> None:
        while self._watched and self._watched[0].answer.done():
            self._watched.popleft()
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._watched:
            first = self._watched[0]
            if not first.answer.done():
                if first.deadline > loop.time():
                    self._timer = loop.call_at(first.deadline, self._expire)
                    return
                first.answer.set_exception(self._expired(first.item))
            self._watched.popleft()


def _refuse(waiting: Iterable[_Waiting[Any, Any]]) -> None:
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(NotRunningError("The connection to Redis is being closed."))
