"""Groups: jobs beside each other, and one that follows when they have ended."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from redispatcher_fastapi import (
    ConfigurationError,
    InvalidOptionError,
    JobCancelledError,
    JobState,
)
from tests.flows.photos import ALL, Collect, Part, Upload
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


def parts(*numbers: int) -> Sequence[Part.Message]:
    return [Part.Message(number=number) for number in numbers]


async def test_results_come_in_the_order_of_the_messages(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(parts(3, 1, 2), then=Collect)

        assert await flow.result(PATIENCE) == "[6, 2, 4] []"
        assert await flow.state() is JobState.SUCCEEDED
        assert len(flow.jobs) == 4


async def test_a_member_that_fails_is_named(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(parts(1, -1), then=Collect)

        assert await flow.result(PATIENCE) == "[2, None] [(1, 'failed')]"


async def test_members_that_are_cancelled_or_deleted_count_as_ended(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(parts(1000, 1, 1000), then=Collect)
        await wait_until(lambda: running.pool.running == 2)
        await flow.jobs[0].cancel()
        await flow.jobs[2].cancel()

        assert await flow.result(PATIENCE) == (
            "[None, 2, None] [(0, 'cancelled'), (2, 'cancelled')]"
        )


async def test_the_first_failure_is_enough_where_that_is_asked_for(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(
            parts(1000, -1), then=Collect, when="first_failure"
        )

        assert await flow.result(PATIENCE) == "[None, None] [(1, 'failed')]"
        assert await flow.cancel()
        await wait_until(lambda: running.pool.running == 0)
        counts = await running.broker.count_jobs("collect")
        assert sum(counts.values()) == 1


async def test_a_cancelled_group_is_followed_by_nothing(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(parts(1, 1000), then=Collect)
        await wait_until(lambda: running.pool.running == 1)

        await flow.cancel()

        with pytest.raises(JobCancelledError):
            await flow.result(PATIENCE)
        await wait_until(lambda: running.pool.running == 0)
        assert await flow.jobs[-1].state() is JobState.CANCELLED


async def test_a_large_group_is_followed_once(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Part).publish_group(
            parts(*range(500)), then=Collect, id="many"
        )
        result = await flow.result(PATIENCE)
        again = await running.publisher(Part).publish_group(
            parts(*range(500)), then=Collect, id="many"
        )

        assert result == f"{[2 * number for number in range(500)]} []"
        assert not again.created
        assert sum((await running.broker.count_jobs("collect")).values()) == 1


async def test_what_cannot_be_a_group_is_refused(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        publisher = running.publisher(Part)
        with pytest.raises(InvalidOptionError, match="1 to 10000 messages, not 0"):
            await publisher.publish_group([], then=Collect)
        with pytest.raises(ConfigurationError, match="must inherit from GroupResult"):
            await publisher.publish_group(parts(1), then=Upload)  # type: ignore[arg-type]  # pyright: ignore
        with pytest.raises(ConfigurationError, match="first_failure"):
            await publisher.publish_group(parts(1), then=Collect, when="never")  # type: ignore[call-overload]  # pyright: ignore
