"""An event loop that is blocked is reported while it is, with whose doing it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from redispatcher_fastapi import BaseConsumer, PoolHealth
from redispatcher_fastapi.hooks import LoopBlock
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until, wait_until_blocking

LEASE = timedelta(seconds=1)
LIMIT = LEASE / 2


class Blocks(BaseConsumer):
    """Keeps the event loop to itself until something is true."""

    QUEUE = "blocks"
    until: ClassVar[list[Callable[[], bool]]] = []

    class Message(BaseConsumer.Message):
        word: str = ""
        depth: int = 0

    async def process_message(self, message: Message) -> None:
        count_everything(message.word, message.depth)


def count_everything(word: str, depth: int = 0) -> None:
    """Be what is found in the stack."""
    if depth:
        count_less(word, depth - 1)
    else:
        wait_until_blocking(Blocks.until[-1])


def count_less(word: str, depth: int) -> None:
    count_everything(word, depth)


@pytest.fixture
def hooks() -> RecordingHooks:
    hooks = RecordingHooks()
    Blocks.until.append(lambda: bool(hooks.blocks))
    return hooks


async def test_a_handler_that_blocks_is_named_with_its_job_and_its_stack(
    redis_dsn: str, hooks: RecordingHooks, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        job = await running.publish(Blocks.Message(word="hush"))
        await job.result(PATIENCE)
        await wait_until(lambda: bool(hooks.ends_of_blocks))

    (block,), (end,) = hooks.blocks, hooks.ends_of_blocks
    assert (block.name, block.queue, block.job_id) == ("Blocks", "blocks", job.id)
    assert "in count_everything" in block.stack
    assert "wait_until_blocking(Blocks.until[-1])" in block.stack
    assert not block.is_frozen
    assert LIMIT < block.lasted <= end.lasted
    assert end.job_id == job.id
    assert f"by Blocks {job.id}: nothing else runs on it." in caplog.text
    assert "hush" not in caplog.text
    levels = {vars(record).get("event"): record.levelname for record in caplog.records}
    assert (levels["pool.loop_blocked"], levels["pool.loop_freed"]) == ("ERROR", "WARNING")


async def test_a_block_is_reported_once_however_long_it_lasts(
    redis_dsn: str, hooks: RecordingHooks
) -> None:
    lasted_long: list[float] = []

    def is_much_later() -> bool:
        if hooks.blocks:
            lasted_long.append(time.monotonic())
        return bool(lasted_long) and lasted_long[-1] - lasted_long[0] > LEASE.total_seconds()

    Blocks.until.append(is_much_later)
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        await running.perform(Blocks.Message())
        await wait_until(lambda: bool(hooks.ends_of_blocks))
        Blocks.until.append(lambda: len(hooks.blocks) > 1)
        await running.perform(Blocks.Message())

    assert len(hooks.blocks) == 2
    assert hooks.ends_of_blocks[0].lasted > LIMIT + LEASE


async def test_health_tells_of_the_block_while_it_lasts(
    redis_dsn: str, hooks: RecordingHooks
) -> None:
    seen: list[PoolHealth] = []
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:

        def has_seen() -> bool:
            seen.append(running.pool.health)
            return bool(hooks.blocks)

        Blocks.until.append(has_seen)
        await running.perform(Blocks.Message())
        await wait_until(lambda: running.pool.health.is_healthy)

    health = seen[-1]
    assert health.loop_lag is not None
    assert health.loop_lag > LIMIT
    assert any("event loop has been blocked" in problem for problem in health.problems)


async def test_a_stack_is_bounded(redis_dsn: str, hooks: RecordingHooks) -> None:
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        await running.perform(Blocks.Message(depth=300))

    (block,) = hooks.blocks
    assert 10 < block.stack.count("  File ") <= 30
    assert len(block.stack) <= 8192
    assert block.stack.rstrip().splitlines()[-1].strip().startswith("time.sleep")


async def test_so_are_its_bytes_and_the_innermost_frame_is_kept(
    redis_dsn: str, hooks: RecordingHooks, tmp_path: Path
) -> None:
    comment = "#" * 2000
    source = "\n".join(
        f"def {name}(wait, depth):\n"
        f"    return {other}(wait, depth - 1) if depth else wait()  {comment}"
        for name, other in [("dig", "delve"), ("delve", "dig")]
    )
    file = tmp_path / "long.py"
    file.write_text(source, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(source, str(file), "exec"), names)

    def block() -> bool:
        wait_until_blocking(lambda: bool(hooks.blocks))
        return True

    Blocks.until.append(lambda: names["dig"](block, 20))
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        await running.perform(Blocks.Message())

    (block_seen,) = hooks.blocks
    assert 4000 < len(block_seen.stack.encode()) <= 8192
    assert block_seen.stack.rstrip().splitlines()[-1].strip().startswith("time.sleep")


async def test_another_task_that_blocks_is_told_from_a_handler(
    redis_dsn: str, hooks: RecordingHooks, caplog: pytest.LogCaptureFixture
) -> None:
    async def poll_a_sensor() -> None:
        count_everything("")

    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        await wait_until(lambda: running.pool.health.is_healthy)
        await asyncio.create_task(poll_a_sensor(), name="sensor")

    (block,) = hooks.blocks
    assert (block.name, block.queue, block.job_id) == (None, None, None)
    assert block.task is not None
    assert block.task.startswith("task sensor (")
    assert "poll_a_sensor" in block.task
    assert "not by a handler's own task, but by task sensor" in caplog.text


async def test_so_is_a_callback(redis_dsn: str, hooks: RecordingHooks) -> None:
    async with running_pool(redis_dsn, Blocks, lease=LEASE, hooks=hooks) as running:
        await wait_until(lambda: running.pool.health.is_healthy)
        asyncio.get_running_loop().call_soon(count_everything, "")
        await wait_until(lambda: bool(hooks.ends_of_blocks))

    (block,) = hooks.blocks
    assert (block.job_id, block.task) == (None, None)
    assert "in count_everything" in block.stack


async def test_a_handler_that_waits_is_not_reported(redis_dsn: str, hooks: RecordingHooks) -> None:
    class Patient(BaseConsumer):
        QUEUE = "patient"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            # What it waits for takes twice as long as what would be reported.
            end = asyncio.get_running_loop().time() + LEASE.total_seconds()
            await wait_until(lambda: asyncio.get_running_loop().time() > end)

    async with running_pool(redis_dsn, Patient, lease=LEASE, hooks=hooks) as running:
        await running.perform(Patient.Message())

    assert hooks.blocks == hooks.ends_of_blocks == list[LoopBlock]()
