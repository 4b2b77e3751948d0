"""What runs beside an application never ends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from redispatcher_fastapi.backoff import Fixed
from redispatcher_fastapi.dispatcher.supervision import supervised_pool
from redispatcher_fastapi.errors import ConfigurationError
from tests.waiting import wait_until

SOON = timedelta(seconds=10)


class FakePool:
    """Runs until it is stopped, then finishes the job in hand."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.stopping = anyio.Event()

    async def run(self) -> None:
        self.log.append("started")
        await self.stopping.wait()
        await anyio.lowlevel.checkpoint()
        self.log.append("finished")

    async def stop(self) -> None:
        self.stopping.set()


class CrashingPool(FakePool):
    async def run(self) -> None:
        self.log.append("crashed")
        raise RuntimeError("boom")


class CrashingWhenStoppedPool(FakePool):
    async def run(self) -> None:
        await super().run()
        raise RuntimeError("boom")


class StuckPool(FakePool):
    async def run(self) -> None:
        await anyio.sleep_forever()

    async def stop(self) -> None:
        await anyio.sleep_forever()


def in_turn(log: list[str], *kinds: Callable[[list[str]], FakePool]) -> Callable[[], FakePool]:
    pools = iter(kinds)
    return lambda: next(pools)(log)


async def test_a_pool_runs_meanwhile_and_finishes_at_the_end() -> None:
    log: list[str] = []

    async with supervised_pool(in_turn(log, FakePool), stop_within=SOON):
        await wait_until(lambda: log == ["started"])

    assert log == ["started", "finished"]


async def test_a_crashed_pool_is_replaced_by_a_new_one() -> None:
    log: list[str] = []
    make_pool = in_turn(log, CrashingPool, CrashingPool, FakePool)

    async with supervised_pool(make_pool, stop_within=SOON):
        await wait_until(lambda: "started" in log)

    assert log == ["crashed", "crashed", "started", "finished"]


async def test_leaving_does_not_wait_for_the_next_start(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    restart = Fixed(timedelta(hours=1))
    with anyio.fail_after(5):
        async with supervised_pool(in_turn(log, CrashingPool), stop_within=SOON, restart=restart):
            await wait_until(lambda: "crashed" in log)

    assert log == ["crashed"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_pool_that_crashes_while_it_stops_is_left_at_that() -> None:
    log: list[str] = []

    async with supervised_pool(in_turn(log, CrashingWhenStoppedPool), stop_within=SOON):
        await wait_until(lambda: log == ["started"])

    assert log == ["started", "finished"]


async def test_a_pool_that_does_not_stop_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(5):
        async with supervised_pool(in_turn([], StuckPool), stop_within=timedelta(milliseconds=10)):
            pass

    assert "did not stop within" in caplog.text


async def test_a_pool_that_cannot_be_made_is_refused_at_once() -> None:
    def make_pool() -> FakePool:
        raise ConfigurationError("nothing to run")

    with pytest.raises(ConfigurationError):
        async with supervised_pool(make_pool, stop_within=SOON):
            pytest.fail("it must not start")


async def test_an_error_of_the_application_comes_out_as_it_is() -> None:
    log: list[str] = []

    async def run() -> None:
        async with supervised_pool(in_turn(log, FakePool), stop_within=SOON):
            await wait_until(lambda: log == ["started"])
            raise KeyError("the application's own")

    with pytest.raises(KeyError):
        await run()

    assert log == ["started", "finished"]


async def test_cancelling_the_application_cancels_the_pool() -> None:
    log: list[str] = []

    with anyio.CancelScope() as scope:
        async with supervised_pool(in_turn(log, FakePool), stop_within=SOON):
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert scope.cancelled_caught
    assert "finished" not in log
