"""What a running pool does with jobs, in memory and on a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    ConsumerConfig,
    ConsumerPool,
    Fixed,
    JobContext,
    JobFailedError,
    JobState,
    RedispatcherConfig,
    Reject,
    Retry,
    RetryPolicy,
    Snooze,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.keys import InvalidNameError
from redispatcher_fastapi.publisher import Publisher
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

SOON = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(milliseconds=1)))


class Add(BaseConsumer):
    QUEUE = "add"

    class Message(BaseConsumer.Message):
        left: int
        right: int

    async def process_message(self, message: Message) -> int:
        return message.left + message.right


class Where(BaseConsumer):
    QUEUE = "where"

    class Message(BaseConsumer.Message):
        pass

    def process_message(self, message: Message) -> str:
        return threading.current_thread().name


class Misbehave(BaseConsumer):
    QUEUE = "misbehave"
    RETRY = SOON
    raised: ClassVar[list[BaseException]] = []
    attempts: ClassVar[list[int]] = []

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, context: JobContext) -> str:
        self.attempts.append(context.attempt)
        if self.raised:
            raise self.raised.pop(0)
        return "well"


@pytest.fixture(autouse=True)
def forget() -> None:
    Misbehave.raised.clear()
    Misbehave.attempts.clear()


async def test_a_published_job_runs_and_returns_its_result(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Add) as running:
        assert await running.perform(Add.Message(left=2, right=3)) == 5


async def test_a_synchronous_consumer_runs_in_a_thread(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Where) as running:
        assert await running.perform(Where.Message()) != threading.current_thread().name


async def test_one_pool_runs_several_queues(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Add, Where) as running:
        assert await running.perform(Add.Message(left=1, right=1)) == 2
        assert await running.perform(Where.Message())


async def test_no_more_jobs_run_at_once_than_there_are_slots(redis_dsn: str) -> None:
    at_once: list[int] = []
    running_now = 0
    release = asyncio.Event()

    class Crowd(BaseConsumer):
        QUEUE = "crowd"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            nonlocal running_now
            running_now += 1
            at_once.append(running_now)
            await release.wait()
            running_now -= 1

    async with running_pool(redis_dsn, ConsumerConfig(consumer_class=Crowd, count=3)) as running:
        jobs = [await running.publish(Crowd.Message()) for _ in range(8)]
        await wait_until(lambda: running_now == 3)
        counts = await running.broker.count_jobs("crowd")
        release.set()
        for job in jobs:
            await job.result(PATIENCE)

    assert (counts[JobState.RUNNING], counts[JobState.QUEUED]) == (3, 5)
    assert max(at_once) == 3


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        asyncio.CancelledError(),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseExceptionGroup("several", [SystemExit(1)]),
        Retry(),
        Retry(timedelta(milliseconds=2)),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_is_one_charged_attempt(
    redis_dsn: str, error: BaseException
) -> None:
    Misbehave.raised.append(error)

    async with running_pool(redis_dsn, Misbehave) as running:
        assert await running.perform(Misbehave.Message()) == "well"

    assert Misbehave.attempts == [1, 2]


async def test_a_job_that_keeps_failing_is_dead_after_its_last_attempt(redis_dsn: str) -> None:
    Misbehave.raised += [ValueError(f"number {number}") for number in range(9)]

    async with running_pool(redis_dsn, Misbehave) as running:
        job = await running.publish(Misbehave.Message())
        with pytest.raises(JobFailedError, match=r"dead \(failed\): ValueError: number 2"):
            await job.result(PATIENCE)
        record = await job.info()

    assert record is not None
    assert (record.attempts, record.reason) == (3, "failed")
    assert [attempt.error for attempt in record.history] == [
        "ValueError: number 0",
        "ValueError: number 1",
        "ValueError: number 2",
    ]
    assert "in process_message" in (record.history[0].traceback or "")


async def test_a_snooze_is_not_charged_and_a_rejection_is_final(redis_dsn: str) -> None:
    Misbehave.raised += [Snooze(timedelta(milliseconds=1))] * 5 + [Reject("bad account")]

    async with running_pool(redis_dsn, Misbehave) as running:
        job = await running.publish(Misbehave.Message())
        with pytest.raises(JobFailedError, match="bad account") as caught:
            await job.result(PATIENCE)

    assert caught.value.reason == "rejected"
    assert Misbehave.attempts == [1] * 6


async def test_a_run_that_exceeds_its_timeout_is_cancelled_and_charged(redis_dsn: str) -> None:
    cleaned_up: list[str] = []

    class Endless(BaseConsumer):
        QUEUE = "endless"
        TIMEOUT = timedelta(milliseconds=20)
        RETRY = RetryPolicy(max_attempts=1)

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned_up.append("done")

    async with running_pool(redis_dsn, Endless) as running:
        job = await running.publish(Endless.Message())
        with pytest.raises(JobFailedError, match=r"ran longer than 0\.02 s"):
            await job.result(PATIENCE)

    assert cleaned_up == ["done"]


async def test_a_result_that_cannot_be_stored_makes_the_job_dead_at_once(redis_dsn: str) -> None:
    class Unstorable(BaseConsumer):
        QUEUE = "unstorable"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> Any:
            return object()

    async with running_pool(redis_dsn, Unstorable) as running:
        job = await running.publish(Unstorable.Message())
        with pytest.raises(JobFailedError) as caught:
            await job.result(PATIENCE)

    assert caught.value.reason == "result_not_serializable"


async def test_a_result_over_the_limit_makes_the_job_dead_at_once(redis_dsn: str) -> None:
    class Verbose(BaseConsumer):
        QUEUE = "verbose"

        class Message(BaseConsumer.Message):
            length: int

        async def process_message(self, message: Message) -> str:
            return "x" * message.length

    async with running_pool(redis_dsn, Verbose, max_result_bytes=100) as running:
        assert await running.perform(Verbose.Message(length=98)) == "x" * 98
        job = await running.publish(Verbose.Message(length=99))
        with pytest.raises(JobFailedError, match="101 bytes, more than the limit of 100") as caught:
            await job.result(PATIENCE)

    assert caught.value.reason == "result_too_large"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"1767268800000not json", "undecodable"),
        (b'1767268800000{"v":9,"body":{}}', "unknown_version"),
        (b'1767268800000{"v":1,"body":{"left":"secret","right":1}}', "invalid_message"),
        (b"scribbled over", "undecodable"),
    ],
)
async def test_a_job_that_cannot_be_read_is_parked_and_the_others_go_on(
    redis_dsn: str, stored: bytes, reason: str
) -> None:
    async with running_pool(redis_dsn, Where) as running:
        job = await running.publish(Add.Message(left=1, right=2))
        redis: Any = running.broker.connections.publisher
        await redis.hset("rd:{add}:jobs", job.id, stored)
        async with running_pool(redis_dsn, Add) as adding:
            with pytest.raises(JobFailedError) as caught:
                await job.result(PATIENCE)
            assert await adding.perform(Add.Message(left=2, right=3)) == 5
        record = await job.info()

    assert record is not None
    assert record.body is not None
    assert (caught.value.reason, record.reason) == (reason, reason)
    assert "secret" not in str(caught.value)
    assert record.body in stored


async def test_headers_and_the_wrapping_of_a_base_class_reach_the_handler(redis_dsn: str) -> None:
    seen: list[str] = []

    class Traced(BaseConsumer):
        class Headers(BaseConsumer.Headers):
            trace_id: str

        @classmethod
        def headers(cls) -> Headers:
            return cls.Headers(trace_id="made at publish time")

        async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
            seen.append(f"before {context.headers.trace_id}")
            result = await run()
            seen.append(f"after {result}")
            return result

    class Shout(Traced):
        QUEUE = "shout"

        class Message(BaseConsumer.Message):
            word: str

        async def process_message(self, message: Message, headers: Traced.Headers) -> str:
            seen.append(headers.trace_id)
            return message.word.upper()

    async with running_pool(redis_dsn, Shout) as running:
        assert await running.perform(Shout.Message(word="oi")) == "OI"

    assert seen == ["before made at publish time", "made at publish time", "after OI"]


async def test_jobs_do_not_share_context_variables(redis_dsn: str) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    class Leak(BaseConsumer):
        QUEUE = "leak"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> str:
            found = tenant.get()
            tenant.set("somebody")
            return found

    async with running_pool(redis_dsn, ConsumerConfig(consumer_class=Leak, count=1)) as running:
        assert [await running.perform(Leak.Message()) for _ in range(2)] == ["nobody"] * 2


async def test_a_graceful_stop_lets_running_jobs_finish(redis_dsn: str) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    class Slow(BaseConsumer):
        QUEUE = "slow"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> str:
            started.set()
            await finish.wait()
            return "finished"

    async with running_pool(redis_dsn, Slow) as running:
        job = await running.publish(Slow.Message())
        await started.wait()
        running.pool.quiet()
        late = await running.publish(Slow.Message())
        finish.set()
        await running.pool.stop()

        assert await job.result(PATIENCE) == "finished"
        assert await late.state() is JobState.QUEUED


async def test_what_does_not_finish_in_time_is_given_back_uncharged(redis_dsn: str) -> None:
    started = asyncio.Event()
    attempts: list[int] = []

    class Stubborn(BaseConsumer):
        QUEUE = "stubborn"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message, context: JobContext) -> None:
            attempts.append(context.attempt)
            started.set()
            if len(attempts) == 1:
                await asyncio.Event().wait()

    grace = timedelta(milliseconds=10)
    async with running_pool(redis_dsn, Stubborn, grace_period=grace) as running:
        job = await running.publish(Stubborn.Message())
        await started.wait()
        await running.pool.stop()
        given_back = await job.info()
        async with running_pool(redis_dsn, Stubborn):
            await job.result(PATIENCE)

    assert given_back is not None
    assert (given_back.state, given_back.attempts) == (JobState.QUEUED, 0)
    assert attempts == [1, 1]


async def test_no_lease_outlives_a_run_that_is_cancelled_again_while_it_ends(
    redis_dsn: str,
) -> None:
    is_running, may_end = asyncio.Event(), asyncio.Event()

    class Stubborn(BaseConsumer):
        QUEUE = "stubborn"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            is_running.set()
            while not may_end.is_set():
                with suppress(asyncio.CancelledError):
                    await may_end.wait()

    def heartbeats() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "redispatcher-heartbeat"]

    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Stubborn])
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        publisher = Publisher(Stubborn, DirectSender(connections.publisher), max_message_bytes=1000)
        await publisher.publish(Stubborn.Message())
        run = asyncio.create_task(ConsumerPool(config, broker=broker).run())
        await is_running.wait()
        assert len(heartbeats()) == 1

        while not run.done():
            run.cancel()
            await asyncio.wait([run], timeout=0.05)

        await wait_until(lambda: heartbeats() == [])
        may_end.set()


async def test_a_burst_ends_when_nothing_is_left_to_run_now(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Misbehave])
    Misbehave.raised.append(Retry(timedelta(hours=1)))
    async with running_pool(redis_dsn, Where) as running:
        jobs = [await running.publish(Misbehave.Message()) for _ in range(25)]
        await running.publish(Misbehave.Message(), delay=timedelta(hours=1))

        await ConsumerPool(config, broker=running.broker).run(burst=True)

        counts = await running.broker.count_jobs("misbehave")

    assert len(jobs) == 25
    assert (counts[JobState.SUCCEEDED], counts[JobState.RETRYING]) == (24, 1)
    assert counts[JobState.SCHEDULED] == 1


async def test_a_job_published_earlier_than_the_one_slept_for_wakes_the_pool(
    redis_dsn: str,
) -> None:
    async with running_pool(redis_dsn, Add) as running:
        await running.publish(Add.Message(left=0, right=0), delay=timedelta(hours=1))
        sooner = await running.publish(
            Add.Message(left=1, right=2), delay=timedelta(milliseconds=50)
        )

        assert await sooner.result(timedelta(seconds=4)) == 3


async def test_a_pool_for_unknown_queues_or_no_consumers_is_refused(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Add])

    with pytest.raises(ConfigurationError, match=r"takes queue 'sub'; it has: add"):
        ConsumerPool(config, queues=["sub"])
    with pytest.raises(ConfigurationError, match="list your consumers"):
        ConsumerPool(RedispatcherConfig(redis_dsn=redis_dsn))


async def test_a_job_can_be_found_again_by_its_id(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Add) as running:
        published = await running.publish(Add.Message(left=20, right=22))

        found = running.publisher(Add).job(published.id)

        assert await found.result(PATIENCE) == 42
        assert await running.publisher(Add).job("nobody").state() is None
        with pytest.raises(InvalidNameError, match="cannot identify a job"):
            running.publisher(Add).job("no spaces")


def make_noted_consumers(count: int, names: list[str]) -> list[type[BaseConsumer]]:
    """Return consumers of as many queues, whose jobs add the name of their queue to a list."""

    def make(name: str) -> type[BaseConsumer]:
        class Noted(BaseConsumer):
            QUEUE = name

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None:
                names.append(name)

        return Noted

    return [make(f"noted-{number}") for number in range(count)]


async def fill(redis_dsn: str, consumers: Sequence[type[BaseConsumer]], count: int) -> None:
    """Queue as many jobs of each consumer, while no pool runs them."""
    (other,) = make_noted_consumers(1, [])
    async with running_pool(redis_dsn, ConsumerConfig(consumer_class=other)) as running:
        for consumer in consumers:
            publisher: Publisher[Any] = running.publisher(consumer)
            await publisher.publish_many([consumer.Message() for _ in range(count)])


async def test_no_queue_starves_beside_others_that_fill_every_claim(redis_dsn: str) -> None:
    names: list[str] = []
    # Six times 100 free slots is more than one call fills, and each queue has enough for several.
    consumers = make_noted_consumers(7, names)[1:]
    await fill(redis_dsn, consumers, 600)

    configs = [ConsumerConfig(consumer_class=consumer, count=200) for consumer in consumers]
    async with running_pool(redis_dsn, *configs):
        await wait_until(lambda: len(names) == 3_600)

    assert len(set(names[:1_800])) == 6


async def test_a_burst_does_not_end_with_what_one_claim_left_over(redis_dsn: str) -> None:
    names: list[str] = []
    consumers = make_noted_consumers(3, names)[1:]
    # The first queue has fewer than it has slots, and the second more than a call has left.
    await fill(redis_dsn, consumers[:1], 400)
    await fill(redis_dsn, consumers[1:], 300)

    configs = [ConsumerConfig(consumer_class=consumer, count=1_000) for consumer in consumers]
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=configs)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        await ConsumerPool(config, broker=broker).run(burst=True)

    assert len(names) == 700
