"""High before normal before low, whenever a job gets its priority."""

from __future__ import annotations

from typing import Any

import pytest

from redispatcher_fastapi.broker.types import AttemptError, Died
from redispatcher_fastapi.job import JobState, Priority
from tests.broker.engine import QUEUE, Engine, Process


async def submit(engine: Engine, *job_ids: str, **options: Any) -> None:
    for job_id in job_ids:
        await engine.submit(job_id, **options)


async def start(process: Process, count: int = 10) -> list[str]:
    return [delivery.job_id for delivery in await process.claim(count)]


async def prioritise(engine: Engine, job_id: str, priority: Priority) -> bool:
    return await engine.broker.set_priority(QUEUE, job_id, priority)


async def test_a_level_starts_once_nothing_of_a_higher_one_waits(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "l1", "l2", level="low")
    await engine.publish_many("n1", "n2")
    await submit(engine, "h1", "h2", level="high")

    assert await start(process, 3) == ["h1", "h2", "n1"]
    await submit(engine, "h3", level="high")
    assert await start(process) == ["h3", "n2", "l1", "l2"]


async def test_one_high_job_comes_before_thousands_of_low_ones(engine: Engine) -> None:
    process = await engine.process()
    low = [f"l{number}" for number in range(3000)]
    for first in range(0, 3000, 1000):
        batch = low[first : first + 1000]
        await engine.sender.send_many(
            QUEUE, [engine.submission(each, level="low") for each in batch]
        )
    await submit(engine, "h", level="high")

    assert await start(process, 3) == ["h", "l0", "l1"]


async def test_jobs_that_fall_due_take_their_place_by_priority(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "l", level="low", delay=1)
    await submit(engine, "h", level="high", delay=2)
    await engine.publish("n")
    engine.clock.move(seconds=2)

    assert await start(process) == ["h", "n", "l"]


async def test_a_job_keeps_its_priority_through_retry_release_and_redrive(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "h", level="high")
    await engine.publish_many("n1", "n2", "n3", "n4")

    await process.retry(await process.claim_one(), after=0)
    (again,) = await process.claim()
    assert again.job_id == "h"
    await process.release(again)
    (again,) = await process.claim()
    assert again.job_id == "h"
    await process.end(again, Died("failed", AttemptError("no")))
    assert (await engine.record("h")).priority is Priority.HIGH
    await engine.broker.redrive_job(QUEUE, "h")

    assert await start(process, 2) == ["h", "n1"]


async def test_a_job_that_is_lost_and_put_off_keeps_its_priority(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "h", level="high")
    await process.claim_one()
    await engine.lose(process)
    heir = await engine.process()
    await heir.retry(await heir.claim_one(), after=60)

    assert (await engine.record("h")).priority is Priority.HIGH


async def test_a_finished_job_leaves_no_priority_behind(engine: Engine) -> None:
    process = await engine.process()
    await submit(engine, "h", level="high")
    await submit(engine, "l", level="low")

    await process.succeed(await process.claim_one())
    await engine.broker.cancel_job(QUEUE, "l")

    assert await engine.key("levels") is None


@pytest.mark.parametrize("partition", ["", "tenant"])
@pytest.mark.parametrize("before", ["", "high", "low"])
@pytest.mark.parametrize("after", Priority)
async def test_a_job_that_waits_can_be_given_another_priority(
    engine: Engine, before: str, after: Priority, partition: str
) -> None:
    process = await engine.process()
    await submit(engine, "x", level=before, partition=partition)
    own = {"h": "high", "n": "normal", "l": "low"}
    for name, level in own.items():
        await submit(engine, name, level=level.replace("normal", ""), partition=partition)

    assert await prioritise(engine, "x", after)

    assert (await engine.record("x")).priority is after
    # Behind the others of its new level, and where it was if it had that already.
    order: list[str] = []
    for name, level in own.items():
        pair = ["x", name] if level == (before or "normal") else [name, "x"]
        order += pair if level == after.value else [name]
    assert await start(process) == order
    assert await start(process) == []
    assert await engine.key("moved") is None
    assert await engine.key("lines") is None


async def test_a_priority_that_is_changed_back_and_forth_leaves_one_place(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish_many("x", "n")
    for priority in (Priority.HIGH, Priority.LOW, Priority.HIGH, Priority.NORMAL, Priority.LOW):
        assert await prioritise(engine, "x", priority)

    assert await engine.counts() == {JobState.QUEUED: 2}
    assert await start(process) == ["n", "x"]
    assert await start(process) == []
    assert await engine.key("moved") is None


async def test_a_scheduled_job_has_its_new_priority_when_it_is_due(engine: Engine) -> None:
    process = await engine.process()
    await engine.publish("n")
    await submit(engine, "x", level="low", delay=5)

    assert await prioritise(engine, "x", Priority.HIGH)
    engine.clock.move(seconds=5)

    assert await start(process) == ["x", "n"]


async def test_the_priority_of_a_job_that_runs_or_is_finished_cannot_be_changed(
    engine: Engine,
) -> None:
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    assert not await prioritise(engine, "a", Priority.HIGH)
    await process.succeed(delivery)
    assert not await prioritise(engine, "a", Priority.HIGH)
    assert not await prioritise(engine, "unknown", Priority.HIGH)

    assert await engine.key("levels") is None


async def test_a_place_that_counts_no_more_is_not_listed(engine: Engine) -> None:
    await engine.publish_many("x", "n1", "n2")
    await prioritise(engine, "x", Priority.LOW)

    listed = await engine.broker.list_jobs(QUEUE, JobState.QUEUED, offset=0, limit=3)

    assert listed == ["n1", "n2", "x"]


async def test_an_id_that_is_used_again_has_neither_the_old_place_nor_the_old_priority(
    engine: Engine,
) -> None:
    process = await engine.process()
    await submit(engine, "x", level="high")
    await prioritise(engine, "x", Priority.LOW)
    await engine.broker.delete_job(QUEUE, "x")
    await engine.publish("n")

    await submit(engine, "x")

    assert await start(process) == ["n", "x"]
    assert await start(process) == []


async def test_a_job_of_normal_priority_pays_for_nothing(engine: Engine) -> None:
    await engine.publish("n")

    assert sorted(key.rpartition(b":")[2] for key in await engine.redis.keys("*")) == [
        *(b"jobs", b"ready", b"stats", b"wake"),
    ]


@pytest.mark.parametrize("partition", ["", "tenant", "other"])
@pytest.mark.parametrize("former", ["", "tenant"])
async def test_an_id_that_is_used_again_runs_once_whatever_its_former_job_left_behind(
    engine: Engine, former: str, partition: str
) -> None:
    process = await engine.process()
    await submit(engine, "n", partition="tenant")
    await submit(engine, "x", partition=former)
    await prioritise(engine, "x", Priority.HIGH)
    await engine.broker.delete_job(QUEUE, "x")

    await submit(engine, "x", partition=partition)

    assert sorted(await start(process)) == ["n", "x"]
    assert await start(process) == []
    for place in ("moved", "ghosts", "lines", "ring"):
        assert await engine.key(place) is None
