"""Calls made at the same time share round trips, and nothing else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from redispatcher_fastapi.broker.coalescing import Coalescer
from redispatcher_fastapi.errors import NotRunningError
from tests.waiting import wait_until


class Expired(Exception):
    """What a caller is raised that waited too long."""


class Server:
    """Answers each number with its double, when the gate is open."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()
        self.failures: list[Exception] = []

    async def flush(self, items: Sequence[int]) -> Sequence[int]:
        self.calls.append(list(items))
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return [2 * item for item in items]


async def submit(coalescer: Coalescer[int, int], number: int) -> int:
    return await coalescer.submit(number, deadline=math.inf)


async def test_what_comes_during_a_call_goes_out_together_with_the_next() -> None:
    server = Server()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired)
        callers = [tasks.create_task(submit(coalescer, number)) for number in range(5)]
        await wait_until(lambda: server.calls == [[0]])
        server.gate.set()

    assert [caller.result() for caller in callers] == [0, 2, 4, 6, 8]
    assert server.calls == [[0], [1, 2, 3, 4]]


async def test_a_single_caller_pays_for_no_task() -> None:
    server = Server()
    server.gate.set()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired)
        before = asyncio.all_tasks()

        assert [await submit(coalescer, number) for number in (1, 2)] == [2, 4]

        assert asyncio.all_tasks() == before


async def test_a_batch_is_no_larger_than_its_limit() -> None:
    server = Server()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired, limit=2)
        for number in range(6):
            tasks.create_task(submit(coalescer, number))
        await wait_until(lambda: server.calls == [[0]])
        server.gate.set()

    assert server.calls == [[0], [1, 2], [3, 4], [5]]


async def test_an_error_reaches_the_callers_of_its_batch_only() -> None:
    server = Server()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired, limit=2)
        callers = [
            asyncio.ensure_future(submit(coalescer, number))  # gathered below
            for number in range(5)
        ]
        await wait_until(lambda: server.calls == [[0]])
        server.failures.append(ConnectionError("the first call"))
        server.gate.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(outcomes[0], ConnectionError)
    assert outcomes[1:] == [2, 4, 6, 8]


async def test_a_caller_that_is_cancelled_takes_nobody_with_it() -> None:
    server = Server()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired)
        callers = [tasks.create_task(submit(coalescer, number)) for number in range(4)]
        await wait_until(lambda: server.calls == [[0]])
        callers[0].cancel()
        callers[2].cancel()
        server.gate.set()

    assert [caller.cancelled() for caller in callers] == [True, False, True, False]
    assert [callers[1].result(), callers[3].result()] == [2, 6]
    assert server.calls[1:] == [[1, 3]]


async def test_everybody_waits_for_others_until_a_deadline_of_its_own() -> None:
    server = Server()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, server.flush, expired=Expired)
        first = tasks.create_task(submit(coalescer, 1))
        await wait_until(lambda: server.calls == [[1]])
        soon, later = loop.time() + 0.02, loop.time() + 60
        hasty = asyncio.ensure_future(coalescer.submit(2, deadline=soon))
        patient = tasks.create_task(coalescer.submit(3, deadline=later))
        with pytest.raises(Expired, match="2"):
            await hasty
        is_patient_done = patient.done()
        server.gate.set()

    assert not is_patient_done
    assert (first.result(), patient.result()) == (2, 6)
    assert server.calls == [[1], [3]]


async def test_a_deadline_also_holds_for_what_is_under_way() -> None:
    first_gate, second_gate, is_under_way = asyncio.Event(), asyncio.Event(), asyncio.Event()
    gates = [first_gate, second_gate]

    async def flush(items: Sequence[int]) -> Sequence[int]:
        if len(items) == 2:
            is_under_way.set()
        await gates.pop(0).wait()
        return items

    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(tasks, flush, expired=Expired)
        tasks.create_task(submit(coalescer, 1))
        await asyncio.sleep(0)
        hasty = asyncio.ensure_future(coalescer.submit(2, deadline=loop.time() + 0.1))
        patient = tasks.create_task(submit(coalescer, 3))
        await asyncio.sleep(0)
        first_gate.set()
        await is_under_way.wait()
        with pytest.raises(Expired, match="2"):
            await hasty
        is_patient_done = patient.done()
        second_gate.set()

    assert not is_patient_done
    assert patient.result() == 3


async def test_callers_are_not_left_waiting_when_the_tasks_end() -> None:
    server = Server()
    waiting: list[asyncio.Future[int]] = []

    async def live() -> None:
        async with asyncio.TaskGroup() as tasks:
            coalescer = Coalescer(tasks, server.flush, expired=Expired)
            waiting.extend(asyncio.ensure_future(submit(coalescer, number)) for number in range(3))
            await wait_until(lambda: server.calls == [[0]])
            waiting[0].cancel()
            await wait_until(lambda: server.calls == [[0], [1, 2]])
            raise RuntimeError("the application ends")

    with pytest.raises(ExceptionGroup):
        await live()

    for caller in waiting[1:]:
        with pytest.raises(NotRunningError):
            await caller
