"""How the jobs of a batch end, each for itself, in memory and on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Depends

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchEndedError,
    BatchItem,
    JobFailedError,
    JobState,
    RetryPolicy,
    Snooze,
)
from redispatcher_fastapi.broker.types import Delivery, Outcome
from tests.pool.batches import (
    LONG,
    Items,
    Letters,
    Quick,
    forget_batches,
    publish,
    read,
    wait_for,
)
from tests.pool.recording import RecordingHooks
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def forget() -> None:
    forget_batches()


class EndingHooks(RecordingHooks):
    """Notes the outcomes among other events."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self._events = events

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        super().job_ended(delivery, name, outcome, seconds)
        self._events.append(type(outcome).__name__)


async def test_each_item_has_its_message_its_headers_and_its_attempt(redis_dsn: str) -> None:
    async def look(items: Items) -> None:
        for item in items:
            item.succeed(f"{item.id} {item.attempt} {item.headers.color} {item.context.queue}")

    Letters.handle = look
    async with running_pool(redis_dsn, Quick) as running:
        publisher = running.publisher(Quick)
        jobs = [
            await publisher.publish(Letters.Message(text=color), headers={"color": color})
            for color in ("red", "blue")
        ]
        results = [await job.result(PATIENCE) for job in jobs]

    assert results == [f"{jobs[0].id} 1 red quick", f"{jobs[1].id} 1 blue quick"]


async def test_each_item_ends_as_the_handler_says(redis_dsn: str) -> None:
    class All(Letters):
        QUEUE = "all"
        BATCH = Batch(size=6, linger=LONG)

    async def judge(items: Items) -> None:
        if len(items) < 6:
            return
        good, bad, busy, asleep, broken, _ = items
        good.succeed("well")
        bad.reject("no such document")
        busy.retry(timedelta(hours=1), reason="locked")
        asleep.snooze(timedelta(hours=1))
        broken.fail(ValueError("torn"))

    Letters.handle = judge
    async with running_pool(redis_dsn, All) as running:
        good, bad, busy, asleep, broken, silent = await publish(running, *"abcdef", to=All)

        assert await good.result(PATIENCE) == "well"
        assert await silent.result(PATIENCE) is None
        with pytest.raises(JobFailedError, match="no such document"):
            await bad.result(PATIENCE)
        assert (await read(bad)).reason == "rejected"
        await wait_for(busy, JobState.RETRYING)
        assert (await read(busy)).attempts == 1
        await wait_for(asleep, JobState.SCHEDULED)
        assert (await read(asleep)).attempts == 0
        history = (await read(broken)).history
        assert [(each.outcome, each.error) for each in history] == [("failed", "ValueError: torn")]


async def test_what_was_said_last_counts(redis_dsn: str) -> None:
    async def hesitate(items: Items) -> None:
        for item in items:
            item.reject("no")
            item.succeed("after all")

    Letters.handle = hesitate
    async with running_pool(redis_dsn, Letters) as running:
        jobs = await publish(running, *"abc")

        assert [await job.result(PATIENCE) for job in jobs] == ["after all"] * 3


async def test_a_handler_that_raises_fails_the_items_of_which_it_said_nothing(
    redis_dsn: str,
) -> None:
    async def stumble(items: Items) -> None:
        if items[0].attempt == 1:
            items[0].succeed("done before")
            items[1].reject("known bad")
            raise ValueError("in the middle")
        items[0].succeed("second time")

    class Once(Letters):
        QUEUE = "once"
        BATCH = Batch(size=3, linger=timedelta(milliseconds=500))

    Letters.handle = stumble
    async with running_pool(redis_dsn, Once) as running:
        good, bad, other = await publish(running, *"abc", to=Once)

        assert await good.result(PATIENCE) == "done before"
        with pytest.raises(JobFailedError, match="known bad"):
            await bad.result(PATIENCE)
        assert await other.result(PATIENCE) == "second time"

    assert Letters.seen == [["a", "b", "c"], ["c"]]


@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), SystemExit(3), Snooze(timedelta(milliseconds=1)), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_affects_its_own_batch_alone(
    redis_dsn: str, error: BaseException
) -> None:
    raised = [error]

    async def misbehave(items: Items) -> None:
        if raised:
            raise raised.pop()

    Letters.handle = misbehave
    async with running_pool(redis_dsn, Quick) as running:
        jobs = await publish(running, *"ab", to=Quick)

        for job in jobs:
            assert await job.result(PATIENCE) is None


async def test_a_handler_that_cancels_its_own_task_has_failed(redis_dsn: str) -> None:
    attempts: list[int] = []

    async def give_up(items: Items) -> None:
        attempts.append(items[0].attempt)
        if items[0].attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()

    Letters.handle = give_up
    async with running_pool(redis_dsn, Quick) as running:
        (job,) = await publish(running, "a", to=Quick)

        assert await job.result(PATIENCE) is None

    assert attempts == [1, 2]


async def test_a_message_that_cannot_be_read_is_parked_alone(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Letters) as running:
        jobs = await publish(running, "a", "b")
        redis: Any = running.broker.connections.publisher
        late = await running.publisher(Letters).publish(
            Letters.Message(text="c"), delay=timedelta(hours=1)
        )
        stored = b'1767268800000{"v":1,"body":{"text":5}}'
        await redis.hset("rd:{letters}:jobs", late.id, stored)
        await redis.zadd("rd:{letters}:scheduled", {late.id: 0})
        await redis.lpush("rd:{letters}:wake", "1")

        with pytest.raises(JobFailedError):
            await late.result(PATIENCE)
        for job in jobs:
            await job.result(PATIENCE)
        record = await read(late)

    assert (record.reason, record.body) == ("invalid_message", b'{"text":5}')
    assert Letters.seen == [["a", "b"]]


async def test_a_result_that_cannot_be_stored_parks_its_own_job(redis_dsn: str) -> None:
    async def answer(items: Items) -> None:
        items[0].succeed(object())
        items[1].succeed("x" * 200)
        items[2].succeed("well")

    Letters.handle = answer
    async with running_pool(redis_dsn, Letters, max_result_bytes=100) as running:
        odd, large, good = await publish(running, *"abc")

        assert await good.result(PATIENCE) == "well"
        await wait_for(odd, JobState.DEAD)
        await wait_for(large, JobState.DEAD)
        assert (await read(odd)).reason == "result_not_serializable"
        assert (await read(large)).reason == "result_too_large"


async def test_a_handler_that_returns_something_has_failed(redis_dsn: str) -> None:
    class Wrong(BatchConsumer):
        QUEUE = "wrong"
        BATCH = Batch(size=1)
        RETRY = RetryPolicy(max_attempts=1)

        class Message(BatchConsumer.Message):
            pass

        async def process_batch(self, items):  # type: ignore[no-untyped-def]  # the mistake
            return [1]

    async with running_pool(redis_dsn, Wrong) as running:
        publisher: Any = running.publisher(Wrong)
        job = await publisher.publish(Wrong.Message())

        with pytest.raises(JobFailedError, match=r"give each item its result"):
            await job.result(PATIENCE)


async def test_dependencies_are_opened_once_and_closed_before_the_jobs_are_settled(
    redis_dsn: str,
) -> None:
    events: list[str] = []

    async def get_session() -> AsyncGenerator[str, None]:
        events.append("opened")
        yield "session"
        events.append("closed")

    class Stores(BatchConsumer):
        QUEUE = "stores"
        BATCH = Batch(size=3, linger=LONG)

        class Message(BatchConsumer.Message):
            pass

        async def process_batch(
            self,
            items: Sequence[BatchItem[Message]],
            session: str = Depends(get_session),
        ) -> None:
            events.append(f"{len(items)} items with a {session}")

    hooks = EndingHooks(events)
    async with running_pool(redis_dsn, Stores, hooks=hooks) as running:
        jobs = await running.publisher(Stores).publish_many([Stores.Message()] * 3)
        for job in jobs:
            await job.result(PATIENCE)

    assert events == ["opened", "3 items with a session", "closed", *["Succeeded"] * 3]


async def test_no_success_stands_if_the_clean_up_fails(redis_dsn: str) -> None:
    async def get_session() -> AsyncGenerator[None, None]:
        yield
        raise ConnectionError("not committed")

    class Commits(BatchConsumer):
        QUEUE = "commits"
        BATCH = Batch(size=3, linger=LONG)
        RETRY = RetryPolicy(max_attempts=1)

        class Message(BatchConsumer.Message):
            pass

        async def process_batch(
            self,
            items: Sequence[BatchItem[Message, str]],
            session: None = Depends(get_session),
        ) -> None:
            items[0].succeed("too early")
            items[1].reject("stands")

    async with running_pool(redis_dsn, Commits) as running:
        jobs = await running.publisher(Commits).publish_many([Commits.Message()] * 3)
        for job in jobs:
            await wait_for(job, JobState.DEAD)
        records = [await read(job) for job in jobs]

    assert [record.reason for record in records] == ["failed", "rejected", "failed"]


async def test_the_time_limit_is_for_the_batch(redis_dsn: str) -> None:
    late: list[type[Exception]] = []

    async def dawdle(items: Items) -> None:
        items[0].succeed("in time")
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_later(0.01, say_more, items[1])

    def say_more(item: BatchItem[Any, Any]) -> None:
        try:
            item.succeed("too late")
        except BatchEndedError as error:
            late.append(type(error))

    class Limited(Letters):
        QUEUE = "limited"
        TIMEOUT = timedelta(milliseconds=30)
        RETRY = RetryPolicy(max_attempts=1)

    Letters.handle = dawdle
    async with running_pool(redis_dsn, Limited) as running:
        first, second, third = await publish(running, *"abc", to=Limited)

        assert await first.result(PATIENCE) == "in time"
        for job in (second, third):
            with pytest.raises(JobFailedError, match="TIMEOUT"):
                await job.result(PATIENCE)
        await wait_until(lambda: bool(late))


async def test_something_can_be_done_around_each_batch(redis_dsn: str) -> None:
    events: list[str] = []

    class Traced(Letters):
        QUEUE = "traced"

        async def around_batch(self, run: Callable[[], Awaitable[None]], items: Items) -> None:
            events.append(f"{len(items)} begin")
            await run()
            events.append("end")

    async with running_pool(redis_dsn, Traced) as running:
        for job in await publish(running, *"abc", to=Traced):
            await job.result(PATIENCE)

    assert events == ["3 begin", "end"]


async def test_hooks_are_told_of_each_job(redis_dsn: str) -> None:
    async def judge(items: Items) -> None:
        items[1].reject("no")

    told: list[str] = []

    class Told(EndingHooks):
        def job_started(self, delivery: Delivery, name: str) -> None:
            told.append(f"started {name}")

    Letters.handle = judge
    async with running_pool(redis_dsn, Letters, hooks=Told(told)) as running:
        good, bad, _ = await publish(running, *"abc")
        await good.result(PATIENCE)
        await wait_for(bad, JobState.DEAD)

    assert told == [*["started Letters"] * 3, "Succeeded", "Died", "Succeeded"]
