# No `from __future__ import annotations`: the endpoints here are closures, whose annotations
# FastAPI cannot evaluate when they are strings.
"""From the request through the job and back: middleware of a dispatcher, and in a tester."""

from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header
from fastapi.testclient import TestClient

from redispatcher_fastapi import (
    BaseConsumer,
    CallNext,
    Job,
    Middleware,
    Publication,
    Publisher,
    Redispatcher,
    RedispatcherConfig,
    Run,
)
from redispatcher_fastapi.testing import FailedRunsError, RedispatcherTester

tenant: ContextVar[str] = ContextVar("tenant")


class Whose(BaseConsumer):
    QUEUE = "whose"

    class Message(BaseConsumer.Message):
        text: str = ""

    async def process_message(self, message: Message) -> str:
        return tenant.get()


class Tenancy(Middleware):
    def __init__(self) -> None:
        self.jobs: list[Job[Any]] = []

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        publication.headers["tenant"] = tenant.get()
        self.jobs += await call_next()

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        token = tenant.set(run.headers["tenant"])
        try:
            return await call_next()
        finally:
            tenant.reset(token)


async def set_tenant(x_tenant: Annotated[str, Header()]) -> None:
    tenant.set(x_tenant)


def make_app(dispatcher: Redispatcher) -> FastAPI:
    app = FastAPI(dependencies=[Depends(set_tenant)])
    app.include_router(dispatcher.router)

    @app.post("/whose")
    async def whose(publisher: Annotated[Publisher[Whose], Depends()], wait: bool) -> str:
        job = await publisher.publish(Whose.Message())
        return await job.result(timeout=10) if wait else job.id

    return app


@pytest.fixture
def tenancy() -> Tenancy:
    return Tenancy()


@pytest.fixture
def dispatcher(tenancy: Tenancy) -> Redispatcher:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Whose])
    return Redispatcher(config, run_pool=True, middleware=[tenancy])


def test_what_a_request_is_about_reaches_the_job_in_the_pool_of_the_application(
    dispatcher: Redispatcher, tenancy: Tenancy
) -> None:
    with TestClient(make_app(dispatcher)) as client:
        answers = [
            client.post("/whose?wait=1", headers={"X-Tenant": name}).json()
            for name in ("blue", "red")
        ]

    assert answers == ["blue", "red"]
    assert [job.queue for job in tenancy.jobs] == ["whose", "whose"]


def test_a_tester_goes_through_the_middleware_of_its_dispatcher(
    dispatcher: Redispatcher, tenancy: Tenancy
) -> None:
    app = make_app(dispatcher)

    with RedispatcherTester(dispatcher, app) as tester, TestClient(app) as client:
        job_id = client.post("/whose?wait=0", headers={"X-Tenant": "blue"}).json()

        job = tester.assert_published(Whose, headers={"tenant": "blue"})
        tester.run_until_idle_blocking()

    assert (job.id, [job.id for job in tenancy.jobs]) == (job_id, [job_id])
    assert tester.runs[0].result == "blue"


def test_a_single_run_of_a_tester_goes_through_it_too(dispatcher: Redispatcher) -> None:
    with RedispatcherTester(dispatcher) as tester:
        owner = tester.run_blocking(Whose, Whose.Message(), headers={"tenant": "blue"})

        with pytest.raises(KeyError, match="tenant") as raised:
            tester.run_blocking(Whose, Whose.Message())

    assert owner == "blue"
    assert raised.value.__notes__ == ["raised by the middleware Tenancy"]


async def test_what_is_published_without_the_dispatcher_goes_past_it(
    dispatcher: Redispatcher,
) -> None:
    with RedispatcherTester(dispatcher) as tester:
        await Whose.publish(Whose.Message(), tester.redis_client)

        with pytest.raises(FailedRunsError, match="KeyError"):
            await tester.run_until_idle()
