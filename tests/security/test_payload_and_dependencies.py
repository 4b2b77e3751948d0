"""No field of a message or of its headers ever takes the place of a dependency."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from pydantic import ConfigDict

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerPool,
    Job,
    JobContext,
    Redispatcher,
    RedispatcherConfig,
    RequestOnlyDependencyError,
)
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import redis_command


def get_role() -> str:
    return "guest"


def get_greeting(name: str = "nobody", role: str = Depends(get_role)) -> str:
    return f"{name} is {role}"


class Greet(BaseConsumer):
    QUEUE = "greet-safely"

    class Message(BaseConsumer.Message):
        model_config = ConfigDict(extra="allow")

    async def process_message(
        self,
        message: Message,
        headers: BaseConsumer.Headers,
        context: JobContext,
        role: Annotated[str, Depends(get_role)],
        greeting: Annotated[str, Depends(get_greeting)],
    ) -> list[str]:
        return [role, greeting, context.id, context.queue]


HOSTILE: dict[str, Any] = {
    "role": "admin",
    "greeting": "admin is admin",
    "name": "admin",
    "context": {"id": "other"},
    "headers": {"role": "admin"},
    "message": {"role": "admin"},
    "self": "admin",
    "dependency_overrides": {"get_role": "admin"},
    "app": "admin",
    "state": "admin",
}


async def test_fields_named_like_parameters_reach_no_parameter(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Greet) as pool:
        publisher = pool.publisher(Greet)
        job: Job[Any] = await publisher.publish(Greet.Message(**HOSTILE), headers=HOSTILE)

        assert await job.result(PATIENCE) == ["guest", "nobody is guest", job.id, Greet.QUEUE]


async def test_fields_beside_the_body_reach_no_parameter(redis_dsn: str) -> None:
    stored = (
        b'1767268800000{"v":1,"body":{},"role":"admin","greeting":"x","context":{"id":"x"},'
        b'"dependencies":{"role":"admin"}}'
    )
    redis_command(redis_dsn, "HSET", "rd:{greet-safely}:jobs", "a", stored)
    redis_command(redis_dsn, "LPUSH", "rd:{greet-safely}:ready", "a")
    async with running_pool(redis_dsn, Greet) as pool:
        result = await pool.publisher(Greet).job("a").result(PATIENCE)

    assert result == ["guest", "nobody is guest", "a", Greet.QUEUE]


async def test_only_the_application_overrides_a_dependency(redis_dsn: str) -> None:
    dispatcher = Redispatcher(
        RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Greet]), run_pool=True
    )
    app = FastAPI()
    app.include_router(dispatcher.router)
    async with app.router.lifespan_context(app):
        publisher = dispatcher.publisher(Greet)
        before = await publisher.publish(Greet.Message(**HOSTILE))
        assert (await before.result(PATIENCE))[0] == "guest"

        app.dependency_overrides[get_role] = lambda: "tester"
        after = await publisher.publish(Greet.Message(**HOSTILE))
        assert (await after.result(PATIENCE))[:2] == ["tester", "nobody is tester"]


def get_account(account_id: int) -> int:
    return account_id


class Charge(BaseConsumer):
    QUEUE = "charge-safely"

    class Message(BaseConsumer.Message):
        account_id: int

    async def process_message(
        self, message: Message, account: Annotated[int, Depends(get_account)]
    ) -> None: ...


def test_a_dependency_that_would_be_read_from_a_request_is_refused_before_any_job() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Charge])
    dispatcher = Redispatcher(config, run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(RequestOnlyDependencyError, match="account_id"):
        anyio.run(start)
    with pytest.raises(RequestOnlyDependencyError, match="account_id"):
        anyio.run(ConsumerPool(config).run)
