# No `from __future__ import annotations`: the endpoints here are closures, whose annotations
# FastAPI cannot evaluate when they are strings.
import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.testclient import TestClient

from redispatcher_fastapi import chain
from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.consumer import BaseConsumer
from redispatcher_fastapi.dispatcher import Redispatcher, app_lifespan, standalone
from redispatcher_fastapi.errors import (
    ConfigurationError,
    NotRunningError,
    PublishError,
    RequestOnlyDependencyError,
)
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.publisher import Publisher
from tests.servers import RedisServers
from tests.waiting import wait_until

MEMORY = "memory://"


async def get_factor(request: Request) -> int:
    factor: int = request.app.state.factor
    return factor


class Resize(BaseConsumer):
    QUEUE = "resize"

    class Message(BaseConsumer.Message):
        width: int

    async def process_message(
        self, message: Message, factor: Annotated[int, Depends(get_factor)]
    ) -> int:
        return message.width * factor


class Forward(BaseConsumer):
    QUEUE = "forward"

    class Message(BaseConsumer.Message):
        width: int

    async def process_message(
        self, message: Message, resizes: Annotated[Publisher[Resize], Depends()]
    ) -> str:
        return (await resizes.publish(Resize.Message(width=message.width))).id


class Measure(BaseConsumer):
    QUEUE = "measure"

    class Message(BaseConsumer.Message): ...

    async def process_message(self, message: Message) -> Resize.Message:
        return Resize.Message(width=5)


def build_app(dispatcher: Redispatcher, log: list[str] | None = None) -> FastAPI:
    """Return an app with a lifespan of its own and an endpoint that publishes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        events = [] if log is None else log
        app.state.factor = 2
        events.append("up")
        yield {"database": "database"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    app.include_router(dispatcher.router)

    @app.post("/resize")
    async def resize(width: int, publisher: Annotated[Publisher[Resize], Depends()]) -> str:
        return (await publisher.publish(Resize.Message(width=width))).id

    return app


def count_pools() -> int:
    return sum(thread.name == "redispatcher-heartbeat" for thread in threading.enumerate())


# Without a pool.


def test_an_endpoint_publishes(redis_dsn: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn))

    with TestClient(build_app(dispatcher)) as client:
        job_id = client.post("/resize?width=3").json()
        assert client.portal is not None
        record = client.portal.call(dispatcher.inspector.job, "resize", job_id)

    assert record is not None
    assert record.state is JobState.QUEUED


def test_the_router_adds_no_routes() -> None:
    app = FastAPI()
    before = app.openapi()

    app.include_router(Redispatcher(RedispatcherConfig(redis_dsn=MEMORY)).router)

    app.openapi_schema = None
    assert app.openapi() == before


def test_the_dispatcher_is_in_the_state_and_on_the_app_while_it_runs() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))
    app = build_app(dispatcher)

    @app.get("/")
    async def root(request: Request) -> list[bool]:
        return [
            request.state.redispatcher is dispatcher,
            request.app.state.redispatcher is dispatcher,
            request.state.database == "database",
        ]

    with TestClient(app) as client:
        assert client.get("/").json() == [True, True, True]
    assert not hasattr(app.state, "redispatcher")


async def test_a_dispatcher_publishes_outside_of_endpoints() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))

    async with dispatcher.lifespan():
        job = await dispatcher.publisher(Resize).publish(Resize.Message(width=1))

        assert await job.state() is JobState.QUEUED
        assert (await dispatcher.inspector.counts("resize"))[JobState.QUEUED] == 1


@pytest.mark.parametrize("consumers", [[Forward], []])
async def test_who_can_publish_to_a_consumer_that_the_configuration_lacks_is_told_once(
    caplog: pytest.LogCaptureFixture, consumers: list[Any]
) -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=consumers)
    async with Redispatcher(config).lifespan() as state:
        dispatcher = state["redispatcher"]
        for consumer in (Forward, Resize, Resize):
            dispatcher.publisher(consumer)

    told = [each.getMessage() for each in caplog.records if "published" in each.getMessage()]
    expected = "Resize can be published here, and is not in RedispatcherConfig(consumers=[...])"
    assert [expected in text for text in told] == ([True] if consumers else [])


async def test_a_job_in_a_pool_that_publishes_to_a_consumer_which_is_missing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Forward])
    async with Redispatcher(config, run_pool=True).lifespan() as state:
        job = await state["redispatcher"].publisher(Forward).publish(Forward.Message(width=1))
        await job.result(timeout=10)

    assert "Resize can be published here" in caplog.text


async def test_a_chain_to_a_consumer_that_is_missing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Measure])
    async with Redispatcher(config).lifespan() as state:
        measures = state["redispatcher"].publisher(Measure)
        await measures.publish_chain(chain(Measure).then(Resize), Measure.Message())

    assert "Resize can be published here" in caplog.text


@pytest.mark.parametrize("run_pool", [True, False])
async def test_memory_without_a_pool_is_told(
    caplog: pytest.LogCaptureFixture, run_pool: bool
) -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Forward])
    async with Redispatcher(config, run_pool=run_pool).lifespan():
        pass

    told = "memory:// belongs to this process, and no pool runs in it" in caplog.text
    assert told is not run_pool


async def test_memory_without_a_pool_is_not_told_in_a_process_of_its_pool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Forward])
    with standalone():
        async with Redispatcher(config).lifespan():
            pass

    assert "memory://" not in caplog.text


def test_what_is_no_configuration_is_refused() -> None:
    config: Any = [Resize]

    with pytest.raises(ConfigurationError, match=r"takes a RedispatcherConfig\(.*, not a list"):
        Redispatcher(config)


async def test_outside_of_the_lifespan_nothing_can_be_used() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))

    with pytest.raises(NotRunningError, match="include_router"):
        dispatcher.publisher(Resize)
    with pytest.raises(NotRunningError, match="include_router"):
        _ = dispatcher.inspector


async def test_another_event_loop_has_to_run_the_lifespan_itself() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))

    async def use() -> None:
        with pytest.raises(NotRunningError):
            dispatcher.publisher(Resize)

    async with dispatcher.lifespan():
        await anyio.to_thread.run_sync(anyio.run, use)


async def test_a_thread_of_the_application_finds_the_publisher() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))

    async with dispatcher.lifespan():
        publisher = await anyio.to_thread.run_sync(dispatcher.publisher, Resize)

        assert publisher is dispatcher.publisher(Resize)


def test_a_router_included_twice_starts_once() -> None:
    dispatcher = Redispatcher(
        RedispatcherConfig(redis_dsn=MEMORY, consumers=[Resize]), run_pool=True
    )
    log: list[str] = []
    app = build_app(dispatcher, log)
    nested = APIRouter()
    nested.include_router(dispatcher.router)
    app.include_router(nested, prefix="/nested")

    with TestClient(app) as client:
        assert client.post("/resize?width=3").status_code == 200
        assert count_pools() == 1

    assert log == ["up", "down"]


async def test_entering_again_for_the_same_app_uses_what_runs_already() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))
    app = FastAPI()

    async with dispatcher.lifespan(app):
        inspector = dispatcher.inspector
        async with dispatcher.lifespan(app):
            assert dispatcher.inspector is inspector
        assert dispatcher.inspector is inspector


def test_an_app_can_be_started_again_in_another_event_loop(redis_dsn: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn))
    app = build_app(dispatcher)

    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/resize?width=3").status_code == 200


def test_one_dispatcher_serves_several_apps_at_once(redis_dsn: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn))

    with TestClient(build_app(dispatcher)) as one:
        with TestClient(build_app(dispatcher)) as other:
            assert other.post("/resize?width=3").status_code == 200
            assert one.post("/resize?width=3").status_code == 200
        assert one.post("/resize?width=3").status_code == 200


def test_a_second_dispatcher_in_one_app_is_refused() -> None:
    app = build_app(Redispatcher(RedispatcherConfig(redis_dsn=MEMORY)))
    app.include_router(Redispatcher(RedispatcherConfig(redis_dsn=MEMORY)).router)

    with pytest.raises(ConfigurationError, match="two dispatchers"), TestClient(app):
        pytest.fail("it must not start")


def test_a_router_in_a_mounted_app_only_is_explained() -> None:
    app = FastAPI()
    app.mount("/inner", build_app(Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))))

    with TestClient(app) as client, pytest.raises(NotRunningError, match="mounted sub-app"):
        client.post("/inner/resize?width=3")


def test_a_mounted_app_with_a_dispatcher_of_its_own_publishes_through_it() -> None:
    outer_dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))
    inner_dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY))
    inner = build_app(inner_dispatcher)

    @asynccontextmanager
    async def run_inner(app: FastAPI) -> AsyncGenerator[None, None]:
        async with inner.router.lifespan_context(inner):
            yield

    app = FastAPI(lifespan=run_inner)
    app.include_router(outer_dispatcher.router)
    app.mount("/inner", inner)

    @app.get("/queued")
    async def count_queued() -> list[int]:
        inspectors = [outer_dispatcher.inspector, inner_dispatcher.inspector]
        return [(await each.counts("resize"))[JobState.QUEUED] for each in inspectors]

    with TestClient(app) as client:
        client.post("/inner/resize?width=3")

        assert client.get("/queued").json() == [0, 1]


def test_an_error_in_another_lifespan_comes_out_as_it_is() -> None:
    @asynccontextmanager
    async def fail(app: FastAPI) -> AsyncGenerator[None, None]:
        raise KeyError("no database")
        yield

    dispatcher = Redispatcher(
        RedispatcherConfig(redis_dsn=MEMORY, consumers=[Resize]), run_pool=True
    )
    app = build_app(dispatcher)
    app.include_router(APIRouter(lifespan=fail))

    with pytest.raises(KeyError), TestClient(app):
        pytest.fail("it must not start")


# Redis at start-up.


@pytest.mark.redis
@pytest.mark.parametrize("run_pool", [False, True])
def test_an_app_starts_without_redis_and_publishes_once_it_is_there(
    redis_servers: RedisServers, caplog: pytest.LogCaptureFixture, run_pool: bool
) -> None:
    server = redis_servers.start()
    server.stop()
    config = RedispatcherConfig(
        redis_dsn=server.dsn, consumers=[Resize], publish_timeout=timedelta(milliseconds=300)
    )
    dispatcher = Redispatcher(config, run_pool=run_pool)
    caplog.set_level("INFO", "redispatcher")

    with TestClient(build_app(dispatcher)) as client:
        with pytest.raises(PublishError):
            client.post("/resize?width=3")
        server.start()
        assert client.portal is not None
        client.portal.call(wait_until, lambda: "Redis can be reached." in caplog.text)
        assert client.post("/resize?width=3").status_code == 200

    assert "Redis cannot be reached; the application serves" in caplog.text


@pytest.mark.redis
def test_an_app_starts_with_wrong_credentials_and_says_so(
    redis_servers: RedisServers, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.start(config={"requirepass": "right"})
    config = RedispatcherConfig(
        redis_dsn=server.dsn.replace("right", "wrong"), publish_timeout=timedelta(milliseconds=300)
    )

    with TestClient(build_app(Redispatcher(config))) as client:
        with pytest.raises(PublishError):
            client.post("/resize?width=3")
        assert client.portal is not None
        client.portal.call(wait_until, lambda: "Redis cannot be used" in caplog.text)

    assert "wrong" not in caplog.text


# With a pool in the application.


def test_a_pool_in_the_app_runs_its_consumers(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Resize, Forward])
    dispatcher = Redispatcher(config, run_pool=True)

    async def forward_and_wait() -> int | None:
        job = await dispatcher.publisher(Forward).publish(Forward.Message(width=21))
        job_id = await job.result(timeout=10)
        same = await dispatcher.publisher(Resize).publish(Resize.Message(width=0), id=job_id)
        return await same.result(timeout=10)

    with TestClient(build_app(dispatcher)) as client:
        assert client.portal is not None
        assert client.portal.call(forward_and_wait) == 42


def test_a_pool_in_the_app_honours_overrides() -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Resize])
    dispatcher = Redispatcher(config, run_pool=True)
    app = build_app(dispatcher)
    app.dependency_overrides[get_factor] = lambda: 10

    async def resize_and_wait() -> int:
        job = await dispatcher.publisher(Resize).publish(Resize.Message(width=3))
        return await job.result(timeout=10)

    with TestClient(app) as client:
        assert client.portal is not None
        assert client.portal.call(resize_and_wait) == 30


def test_jobs_that_finish_during_the_shutdown_may_still_publish() -> None:
    started, published = threading.Event(), list[str]()

    class Slow(BaseConsumer):
        QUEUE = "slow"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(
            self, message: Message, resizes: Annotated[Publisher[Resize], Depends()]
        ) -> None:
            started.set()
            await wait_until(lambda: not accepting)
            published.append((await resizes.publish(Resize.Message(width=1))).id)

    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Slow])
    dispatcher = Redispatcher(config, run_pool=True)
    app = build_app(dispatcher)
    accepting = True

    with TestClient(app) as client:
        assert client.portal is not None
        client.portal.call(dispatcher.publisher(Slow).publish, Slow.Message())
        started.wait(10)
        accepting = False

    assert len(published) == 1


def test_a_pool_in_the_app_with_nothing_to_run_is_refused() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=MEMORY), run_pool=True)

    with pytest.raises(ConfigurationError), TestClient(build_app(dispatcher)):
        pytest.fail("it must not start")


async def get_user(authorization: Annotated[str, Header()]) -> str:
    return authorization


class NeedsUser(BaseConsumer):
    QUEUE = "needs-user"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self, message: Message, user: Annotated[str, Depends(get_user)]
    ) -> None: ...


def test_a_consumer_that_needs_a_request_ends_the_start_up() -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[NeedsUser])
    app = build_app(Redispatcher(config, run_pool=True))

    with pytest.raises(RequestOnlyDependencyError, match="NeedsUser -> get_user"), TestClient(app):
        pytest.fail("it must not start")


# For the standalone pool.


async def test_the_lifespan_without_http_has_no_pool_and_gives_the_whole_state() -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Resize])
    log: list[str] = []
    app = build_app(Redispatcher(config, run_pool=True), log)

    async with app_lifespan(app) as (dispatcher, state):
        assert log == ["up"]
        assert state["database"] == "database"
        assert dispatcher is state["redispatcher"]
        assert count_pools() == 0

    assert log == ["up", "down"]


async def test_the_lifespan_without_http_needs_a_dispatcher() -> None:
    with pytest.raises(NotRunningError, match="include its router"):
        async with app_lifespan(FastAPI()):
            pytest.fail("it must not start")


async def test_standalone_holds_for_what_is_entered_meanwhile_only() -> None:
    config = RedispatcherConfig(redis_dsn=MEMORY, consumers=[Resize])
    dispatcher = Redispatcher(config, run_pool=True)

    async with AsyncExitStack() as stack:
        with standalone():
            await stack.enter_async_context(dispatcher.lifespan(FastAPI()))
        assert count_pools() == 0
        async with dispatcher.lifespan(FastAPI()):
            await wait_until(lambda: count_pools() == 1)
