"""What a lane of batches asks for, and how it makes them up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from redispatcher_fastapi import Batch, BatchConsumer, BatchItem
from redispatcher_fastapi.batch_execution import BatchExecution
from redispatcher_fastapi.broker.types import Delivery
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.pool.batching import BatchLane, BatchTask
from redispatcher_fastapi.stopping import StopReason


class Work(BatchConsumer):
    QUEUE = "work"
    BATCH = Batch(size=10, linger=timedelta(seconds=2))

    class Message(BatchConsumer.Message):
        pass

    async def process_batch(self, items: Sequence[BatchItem[Message]]) -> None: ...


def make_lane(batches: int) -> BatchLane:
    execution = BatchExecution(definition_of(Work), max_message_bytes=100, max_result_bytes=100)
    return BatchLane(execution, batches * 10, batch_execution=execution)


def join(lane: BatchLane, count: int, *, losses: int = 0) -> list[BatchTask]:
    first = len(lane.runs)
    return [
        lane.join(
            Delivery("work", "a", "h", first + number, "1,1", b"", 0, losses=losses),
            is_alone=losses > 0,
        )
        for number in range(count)
    ]


def wanted(lane: BatchLane) -> tuple[int, int]:
    """Return how many jobs, and how many lost ones, the lane asks for."""
    want = lane.want(lane.demand, 1)
    return want.count, want.suspects


@pytest.mark.parametrize(("batches", "count", "suspects"), [(1, 10, 1), (2, 10, 1), (5, 30, 2)])
def test_an_empty_lane_asks_for_half_of_its_batches(
    batches: int, count: int, suspects: int
) -> None:
    assert wanted(make_lane(batches)) == (count, suspects)


def test_a_lane_asks_for_what_could_begin() -> None:
    lane = make_lane(2)

    first = join(lane, 14)[0]
    assert (lane.begun, lane.free) == (1, 6)
    assert wanted(lane) == (6, 0)
    join(lane, 6)
    assert wanted(lane) == (0, 0)
    lane.end(first)
    assert wanted(lane) == (10, 1)


def test_what_a_claim_under_way_may_bring_is_not_asked_for_again() -> None:
    lane = make_lane(2)
    lane.reserved = 15

    assert wanted(lane)[0] == 5


def test_after_a_lost_job_its_like_are_asked_for_alone_until_none_comes() -> None:
    lane = make_lane(4)

    join(lane, 1, losses=1)
    assert wanted(lane) == (1, 1)
    join(lane, 1, losses=1)
    assert wanted(lane) == (20, 0)  # half of the batches have them
    lane = make_lane(4)
    join(lane, 1, losses=1)
    wanted(lane)
    assert wanted(lane) == (20, 1)  # the one that was asked for was not lost


def test_lost_jobs_do_not_join_others() -> None:
    lane = make_lane(3)

    (gathering,) = join(lane, 1)
    (alone,) = join(lane, 1, losses=1)

    assert alone is not gathering
    assert alone.has_begun
    assert not gathering.has_begun
    assert lane.gathering is gathering


async def test_a_batch_is_cancelled_once_however_many_are_in_it() -> None:
    lane = make_lane(1)
    batch = join(lane, 3)[0]
    batch.task = asyncio.create_task(asyncio.sleep(60))
    batch.is_running = True
    for member in batch.members:
        member.task = batch.task
        member.cancel(StopReason.LOST)

    assert batch.task.cancelling() == 1
    assert [member.cancelled_for for member in batch.members] == [StopReason.LOST] * 3
    with pytest.raises(asyncio.CancelledError):
        await batch.task


def test_nothing_joins_a_batch_that_was_cancelled() -> None:
    lane = make_lane(2)
    (batch,) = join(lane, 1)
    batch.is_cancelled = True

    assert join(lane, 1) != [batch]
    assert lane.gathering is not batch
    lane.end(batch)
    assert lane.gathering is not None
