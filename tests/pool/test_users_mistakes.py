"""What users hand to the pool besides their handlers, and how it fails: one job suffers, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, field_serializer, field_validator

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerPool,
    JobFailedError,
    JobState,
    Redispatcher,
    RedispatcherConfig,
    RetryPolicy,
    Snooze,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import Delivery, Outcome
from redispatcher_fastapi.hooks import PoolHooks
from redispatcher_fastapi.publisher import Publisher
from tests.pool.running import PATIENCE, running_pool


class BackOff:
    """Answers what it is told to, or raises it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def delay(self, attempt: int, random: Callable[[], float]) -> timedelta:
        if isinstance(self._answer, BaseException):
            raise self._answer
        answer: timedelta = self._answer
        return answer


class Careless(Snooze):
    """Does not call what it inherits."""

    def __init__(self) -> None:
        pass


def read_url(request: Request) -> str:
    return str(request.url)


class Good(BaseConsumer):
    QUEUE = "good"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> str:
        return "well"


@pytest.mark.parametrize(
    "answer",
    [5, -timedelta(seconds=1), None, ValueError("no"), SystemExit(3)],
    ids=["a number", "negative", "nothing", "an error", "an exit"],
)
async def test_a_back_off_that_fails_makes_its_own_job_dead(redis_dsn: str, answer: Any) -> None:
    class Bad(BaseConsumer):
        QUEUE = "bad"
        RETRY = RetryPolicy(backoff=BackOff(answer))

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            raise OSError("try again")

    async with running_pool(redis_dsn, Bad, Good) as running:
        job = await running.publish(Bad.Message())
        with pytest.raises(JobFailedError) as caught:
            await job.result(PATIENCE)

        assert await running.perform(Good.Message()) == "well"

    assert caught.value.reason == "failed"


async def test_a_snooze_that_was_never_given_its_delay_is_a_failure(redis_dsn: str) -> None:
    starts: list[int] = []

    class Sleepy(BaseConsumer):
        QUEUE = "sleepy"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None:
            starts.append(1)
            raise Careless

    async with running_pool(redis_dsn, Sleepy) as running:
        job = await running.publish(Sleepy.Message())
        with pytest.raises(JobFailedError, match="delay"):
            await job.result(PATIENCE)

    assert starts == [1]


async def test_a_serializer_that_exits_costs_its_job_and_nothing_else(redis_dsn: str) -> None:
    class Report(BaseModel):
        text: str = ""

        @field_serializer("text")
        def write(self, text: str) -> str:
            raise SystemExit(text)

    class Reporting(BaseConsumer):
        QUEUE = "reporting"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> Report:
            return Report()

    async with running_pool(redis_dsn, Reporting, Good) as running:
        job = await running.publish(Reporting.Message())
        with pytest.raises(JobFailedError) as caught:
            await job.result(PATIENCE)

        assert await running.perform(Good.Message()) == "well"

    assert caught.value.reason == "result_not_serializable"


async def test_a_validator_that_exits_costs_its_job_and_nothing_else(redis_dsn: str) -> None:
    class Strict(BaseConsumer):
        QUEUE = "strict"

        class Message(BaseConsumer.Message):
            text: str = ""

            @field_validator("text")
            @classmethod
            def check(cls, text: str) -> str:
                raise SystemExit(text)

        async def process_message(self, message: Message) -> None: ...

    async with running_pool(redis_dsn, Strict, Good) as running:
        job = await running.publish(Strict.Message.model_construct(text="a"))
        with pytest.raises(JobFailedError) as caught:
            await job.result(PATIENCE)

        assert await running.perform(Good.Message()) == "well"

    assert caught.value.reason == "invalid_message"


class Raising(PoolHooks):
    """Hooks that all fail."""

    def job_started(self, delivery: Delivery, name: str) -> None:
        raise RuntimeError("started")

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        raise RuntimeError("ended")


async def test_hooks_that_fail_are_logged_and_cost_no_job(
    redis_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Good])
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        sender = DirectSender(connections.publisher, store=broker)
        publisher = Publisher(Good, sender, max_message_bytes=1000)
        job = await publisher.publish(Good.Message())

        await ConsumerPool(config, broker=broker, hooks=Raising()).run(burst=True)

        assert await job.state() is JobState.SUCCEEDED

    assert caplog.text.count("A hook of the pool failed.") == 2


async def test_a_dependency_that_reads_a_request_makes_its_job_dead_at_once(redis_dsn: str) -> None:
    class Linking(BaseConsumer):
        QUEUE = "linking"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(
            self, message: Message, url: Annotated[str, Depends(read_url)]
        ) -> None: ...

    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Linking])
    app = FastAPI()
    dispatcher = Redispatcher(config, run_pool=True)
    app.include_router(dispatcher.router)
    async with dispatcher.lifespan(app):
        job = await dispatcher.publisher(Linking).publish(Linking.Message())
        with pytest.raises(JobFailedError, match="only an HTTP request has") as caught:
            await job.result(PATIENCE)
        record = await job.info()

    assert caught.value.reason == "failed"
    assert record is not None
    assert record.attempts == 1
