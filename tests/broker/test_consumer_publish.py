"""``MyConsumer.publish(message, client)``: with any client, and without anything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.consumer import BaseConsumer, InvalidOptionError
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import (
    ConsumerDefinitionError,
    MessageTooLargeError,
    WrongMessageError,
)
from redispatcher_fastapi.job import JobState
from tests.servers import RedisServer


class Greet(BaseConsumer):
    QUEUE = "greet"

    class Message(BaseConsumer.Message):
        name: str

    @classmethod
    def headers(cls) -> dict[str, Any]:
        return {"trace": "made"}

    async def process_message(self, message: Message) -> str:
        return message.name


@pytest.fixture
async def client(redis_dsn: str, leak_check: None) -> AsyncIterator[Any]:
    async with Connections(parse_dsn(redis_dsn)) as connections:
        yield connections.publisher


async def test_it_returns_a_handle_on_a_queued_job(client: Any) -> None:
    job = await Greet.publish(Greet.Message(name="Ada"), client, headers={"more": 1})
    record = await job.info()

    assert job.created
    assert (job.queue, await job.state()) == ("greet", JobState.QUEUED)
    assert record is not None
    assert record.body == b'{"name":"Ada"}'
    assert record.headers == {"trace": "made", "more": 1}


async def test_the_same_id_leaves_the_first_job(client: Any) -> None:
    await Greet.publish(Greet.Message(name="Ada"), client, id="one")
    again = await Greet.publish(Greet.Message(name="Bob"), client, id="one")
    record = await again.info()

    assert not again.created
    assert record is not None
    assert record.body == b'{"name":"Ada"}'


async def test_a_delay_or_a_time_makes_it_wait(client: Any) -> None:
    message = Greet.Message(name="Ada")
    delayed = await Greet.publish(message, client, delay=timedelta(hours=1))
    timed = await Greet.publish(message, client, at=datetime.now(UTC) + timedelta(hours=1))

    assert await delayed.state() is JobState.SCHEDULED
    assert await timed.state() is JobState.SCHEDULED


async def test_what_is_refused_does_not_reach_redis(client: Any) -> None:
    anything: Any = BaseConsumer.Message()

    with pytest.raises(WrongMessageError):
        await Greet.publish(anything, client)
    with pytest.raises(MessageTooLargeError):
        await Greet.publish(Greet.Message(name="x" * 262_144), client)
    with pytest.raises(InvalidOptionError):
        await Greet.publish(Greet.Message(name="x"), client, delay=-timedelta(1))

    assert await client.execute_command("DBSIZE") == 0


async def test_a_base_without_a_queue_cannot_publish(client: Any) -> None:
    class Base(BaseConsumer):
        pass

    message: Any = Base.Message()
    with pytest.raises(ConsumerDefinitionError, match="Base has no QUEUE"):
        await Base.publish(message, client)


@pytest.mark.redis
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode_responses", [False, True])
async def test_any_client_of_the_caller_s_will_do_and_stays_open(
    redis_server: RedisServer, decode_responses: bool, protocol: int
) -> None:
    options: dict[str, Any] = {"decode_responses": decode_responses, "protocol": protocol}
    client: Any = Redis(port=redis_server.port, **options)
    async with client:
        await client.execute_command("FLUSHDB")
        job = await Greet.publish(Greet.Message(name="Ada"), client)
        again = await Greet.publish(Greet.Message(name="Ada"), client, id=job.id)
        record = await job.info()

        assert (job.created, again.created) == (True, False)
        assert record is not None
        assert record.body == b'{"name":"Ada"}'
        assert await job.cancel()
        assert await client.execute_command("PING")
