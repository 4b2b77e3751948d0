"""Cancellations that a call through redis-py swallows, or turns into an error."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from redispatcher_fastapi.broker.cancellation import heeding_cancellation


class Call:
    """A call through redis-py that waits for ever, and answers when it is cancelled."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.is_under_way = asyncio.Event()
        self._failure = failure

    async def run(self) -> str:
        self.is_under_way.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._failure is not None:
                raise self._failure from None
        return "answer"


async def answer() -> str:
    return "answer"


@pytest.mark.parametrize("failure", [None, RedisConnectionError("closed")])
async def test_a_lost_cancellation_ends_the_task(failure: Exception | None) -> None:
    call = Call(failure)
    task = asyncio.create_task(heeding_cancellation(call.run()))
    await call.is_under_way.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_whose_cancellation_was_lost_is_still_one() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await heeding_cancellation(Call().run())


async def test_a_scope_whose_cancellation_was_lost_is_left_by_it() -> None:
    call = Call()
    with anyio.move_on_after(0.01) as scope:
        await heeding_cancellation(call.run())
        pytest.fail("the cancellation was lost")

    assert scope.cancelled_caught


async def test_a_task_that_was_cancelled_before_can_still_clean_up() -> None:
    cleaned_up: list[str] = []
    is_waiting = asyncio.Event()

    async def work() -> None:
        try:
            is_waiting.set()
            await asyncio.Event().wait()
        finally:
            cleaned_up.append(await heeding_cancellation(answer()))

    task = asyncio.create_task(work())
    await is_waiting.wait()
    task.cancel()
    await asyncio.wait([task])

    assert cleaned_up == ["answer"]


async def test_an_error_without_a_cancellation_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise RedisConnectionError("refused")

    with pytest.raises(RedisConnectionError, match="refused"):
        await heeding_cancellation(fail())
