"""Deadlines that share one timer end exactly what took too long."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from redispatcher_fastapi.broker.deadlines import Deadlines


def soon(seconds: float = 0.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_takes_too_long_raises_a_timeout() -> None:
    deadlines = Deadlines()

    with pytest.raises(TimeoutError), deadlines.until(soon()):
        await wait_for_ever()


async def test_what_ends_in_time_is_never_cancelled() -> None:
    deadlines = Deadlines()

    with deadlines.until(soon(0.01)):
        await asyncio.sleep(0)

    with pytest.raises(TimeoutError), deadlines.until(soon(0.02)):
        await wait_for_ever()


async def test_each_task_is_ended_at_its_own_deadline() -> None:
    deadlines = Deadlines()
    ended: list[str] = []

    async def wait(name: str, when: float) -> None:
        try:
            with deadlines.until(when):
                await wait_for_ever()
        except TimeoutError:
            assert asyncio.get_running_loop().time() >= when
            ended.append(name)

    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(wait(str(number), soon(0.01 * number)))

    assert ended == ["0", "1", "2"]


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines()

    async def wait() -> None:
        with deadlines.until(soon(60)):
            await wait_for_ever()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_deadline_wins() -> None:
    deadlines = Deadlines()
    task: asyncio.Task[None] | None = None

    async def wait() -> None:
        with deadlines.until(soon()):
            asyncio.get_running_loop().call_at(soon(), cancel)
            await wait_for_ever()

    def cancel() -> None:
        assert task is not None
        task.cancel()

    task = asyncio.create_task(wait())

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_outer_of_two_equal_deadlines_is_told() -> None:
    deadlines = Deadlines()
    outer = Deadlines()

    with pytest.raises(TimeoutError), outer.until(soon()), deadlines.until(soon()):
        await wait_for_ever()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_scope_of_anyio_around_it_ends_as_its_own() -> None:
    deadlines = Deadlines()

    with anyio.move_on_after(0) as scope, deadlines.until(soon(60)):
        await wait_for_ever()

    assert scope.cancelled_caught


async def test_an_error_of_the_block_is_passed_on() -> None:
    deadlines = Deadlines()

    with pytest.raises(LookupError), deadlines.until(soon(60)):
        raise LookupError


def test_it_serves_one_event_loop_after_another() -> None:
    deadlines = Deadlines()

    async def time_out() -> None:
        with deadlines.until(soon()):
            await wait_for_ever()

    async def leave_one_behind() -> None:
        with deadlines.until(soon(60)):
            pass

    asyncio.run(leave_one_behind())
    with pytest.raises(TimeoutError):
        asyncio.run(time_out())
