# No `from __future__ import annotations`: the endpoints here are closures, whose annotations
# FastAPI cannot evaluate when they are strings.
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import anyio.from_thread
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient

from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.consumer import BaseConsumer, definition_of
from redispatcher_fastapi.errors import (
    ConsumerDefinitionError,
    MessageTooLargeError,
    NotRunningError,
    RequestOnlyDependencyError,
    WrongMessageError,
)
from redispatcher_fastapi.injection import Injector
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.publisher import STATE_KEY, Publisher
from tests.fastapi import postponed
from tests.fastapi.recording import RecordingSender, Resize, SendEmail

EmailPublisher = Annotated[Publisher[SendEmail], Depends()]
EMAIL = SendEmail.Message(address="a")
SENT = [("send-email", b'{"v":1,"body":{"address":"a"}}')]


@pytest.fixture
def sender() -> RecordingSender:
    return RecordingSender()


@pytest.fixture
def app(sender: RecordingSender) -> FastAPI:
    return sender.app()


def post(app: FastAPI, path: str = "/") -> Any:
    with TestClient(app) as client:
        response = client.post(path)
    assert response.status_code == 200
    return response.json()


# As a dependency of endpoints.


def test_an_endpoint_publishes_with_an_annotated_publisher(
    app: FastAPI, sender: RecordingSender
) -> None:
    @app.post("/")
    async def endpoint(publisher: Annotated[Publisher[SendEmail], Depends()]) -> str:
        return (await publisher.publish(EMAIL)).id

    assert post(app) == sender.sent[0][1].job_id
    assert sender.bodies == SENT


def test_an_endpoint_publishes_with_a_publisher_by_default_value(
    app: FastAPI, sender: RecordingSender
) -> None:
    @app.post("/")
    async def endpoint(publisher: Publisher[SendEmail] = Depends()) -> None:
        await publisher.publish(EMAIL)

    post(app)
    assert sender.bodies == SENT


def test_string_annotations_work(app: FastAPI, sender: RecordingSender) -> None:
    app.include_router(postponed.router)

    post(app, "/postponed")
    assert sender.bodies == SENT


def test_a_plain_function_publishes_from_its_thread(app: FastAPI, sender: RecordingSender) -> None:
    @app.post("/")
    def endpoint(publisher: EmailPublisher) -> None:
        anyio.from_thread.run(publisher.publish, EMAIL)

    post(app)
    assert sender.bodies == SENT


def test_a_websocket_publishes(app: FastAPI, sender: RecordingSender) -> None:
    @app.websocket("/")
    async def endpoint(socket: WebSocket, publisher: EmailPublisher) -> None:
        await socket.accept()
        await publisher.publish(EMAIL)
        await socket.close()

    with TestClient(app) as client, client.websocket_connect("/") as socket:
        assert socket.receive()["type"] == "websocket.close"
    assert sender.bodies == SENT


def test_one_request_has_one_publisher_per_consumer(app: FastAPI) -> None:
    async def sub_dependency(publisher: EmailPublisher) -> Publisher[SendEmail]:
        return publisher

    @app.post("/")
    async def endpoint(
        publisher: Publisher[SendEmail] = Depends(),
        same: Publisher[SendEmail] = Depends(sub_dependency),
        other: Publisher[Resize] = Depends(),
    ) -> list[bool]:
        return [publisher is same, other.consumer is Resize]

    assert post(app) == [True, True]


def test_a_publisher_leaves_no_trace_in_the_api_description(app: FastAPI) -> None:
    @app.post("/")
    async def endpoint(publisher: EmailPublisher) -> None: ...

    assert "parameters" not in app.openapi()["paths"]["/"]["post"]
    assert "requestBody" not in app.openapi()["paths"]["/"]["post"]


def test_a_publisher_can_be_overridden(app: FastAPI, sender: RecordingSender) -> None:
    fake = RecordingSender()
    app.dependency_overrides[Publisher[SendEmail]] = lambda: fake.publishers().publisher(SendEmail)

    @app.post("/")
    async def endpoint(emails: EmailPublisher, pictures: Publisher[Resize] = Depends()) -> None:
        await emails.publish(EMAIL)
        await pictures.publish(Resize.Message(path="p"))

    post(app)
    assert fake.bodies == SENT
    assert [queue for queue, _ in sender.bodies] == ["resize"]


def test_a_mounted_app_finds_the_publisher_of_the_outer_one(
    app: FastAPI, sender: RecordingSender
) -> None:
    inner = FastAPI()
    app.mount("/inner", inner)

    @inner.post("/publish")
    async def endpoint(publisher: EmailPublisher) -> None:
        await publisher.publish(EMAIL)

    post(app, "/inner/publish")
    assert sender.bodies == SENT


def test_the_app_s_own_state_serves_where_the_lifespan_s_is_lost(sender: RecordingSender) -> None:
    app = FastAPI()
    setattr(app.state, STATE_KEY, sender.publishers())

    @app.post("/")
    async def endpoint(publisher: EmailPublisher) -> None:
        await publisher.publish(EMAIL)

    assert TestClient(app).post("/").status_code == 200
    assert sender.bodies == SENT


def test_without_a_dispatcher_the_error_names_the_usual_causes(app: FastAPI) -> None:
    @app.post("/")
    async def endpoint(publisher: EmailPublisher) -> None: ...

    with pytest.raises(NotRunningError, match=r"include_router.*with TestClient\(app\).*mounted"):
        TestClient(app).post("/")


def test_forgetting_depends_is_refused_when_the_endpoint_is_defined(app: FastAPI) -> None:
    with pytest.raises(ConsumerDefinitionError, match=r"Annotated\[Publisher\[SendEmail\], Dep"):

        @app.post("/")
        async def endpoint(publisher: Publisher[SendEmail]) -> None: ...


def test_a_publisher_that_may_be_none_is_refused_when_the_endpoint_is_defined(
    app: FastAPI,
) -> None:
    with pytest.raises(ConsumerDefinitionError, match=r"`Publisher\[SendEmail\] \| None` cannot"):

        @app.post("/")
        async def annotated(
            publisher: Annotated[Publisher[SendEmail] | None, Depends()],
        ) -> None: ...

    with pytest.raises(ConsumerDefinitionError, match=r"write `publisher: Annotated\[Publisher\["):

        @app.post("/")
        async def by_default(publisher: Publisher[SendEmail] | None = Depends()) -> None: ...

    with pytest.raises(ConsumerDefinitionError, match="never anything else"):

        @app.post("/")
        async def forgotten(publisher: Publisher[SendEmail] | None = None) -> None: ...

    union: Any = Publisher[SendEmail] | None
    with pytest.raises(ConsumerDefinitionError, match="never anything else"):
        union()


def test_a_publisher_without_its_consumer_is_refused_when_the_endpoint_is_defined(
    app: FastAPI,
) -> None:
    with pytest.raises(ConsumerDefinitionError, match="has to know its consumer"):

        @app.post("/")
        async def annotated(publisher: Annotated[Publisher, Depends()]) -> None: ...  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]  # the mistake


# As an object.


def test_aliases_of_one_consumer_are_equal_and_of_two_are_not() -> None:
    aliases: list[Any] = [Publisher[SendEmail], Publisher[SendEmail], Publisher[Resize]]

    assert len(set(aliases)) == 2
    assert repr(aliases[0]) == "Publisher[SendEmail]"


@pytest.mark.parametrize("argument", [int, BaseConsumer, "SendEmail", None])
def test_a_publisher_of_something_else_is_refused(argument: Any) -> None:
    publisher: Any = Publisher

    with pytest.raises(ConsumerDefinitionError):
        publisher[argument]


def test_the_parameters_of_a_generic_consumer_make_no_difference(
    app: FastAPI, sender: RecordingSender
) -> None:
    T = TypeVar("T")

    class Imported(BaseConsumer, Generic[T]):
        QUEUE = "imported"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> None: ...

    @app.post("/")
    async def endpoint(publisher: Annotated[Publisher[Imported[int]], Depends()]) -> str:
        await publisher.publish(Imported.Message())
        return repr(publisher)

    assert post(app) == repr(Publisher[Imported[str]])
    assert [queue for queue, _ in sender.sent] == ["imported"]
    assert definition_of(Imported[int]) is definition_of(Imported)


def test_a_publisher_stays_generic() -> None:
    T = TypeVar("T", bound=BaseConsumer)
    publisher: Any = Publisher

    assert publisher[T][SendEmail].__args__ == (SendEmail,)


def test_a_publisher_can_be_optional_where_it_is_no_dependency() -> None:
    publisher: Any = Publisher[SendEmail]
    other: Any = Publisher[Resize]

    def notify(publisher: Publisher[SendEmail] | None = None) -> None: ...

    assert get_type_hints(notify)["publisher"] == (publisher | None)
    assert (publisher | None).__args__ == (None | publisher).__args__[::-1]
    assert repr(int | (publisher | None) | other) == (
        "<class 'int'> | Publisher[SendEmail] | None | Publisher[Resize]"
    )


async def test_the_options_go_with_the_message(sender: RecordingSender) -> None:
    publisher = sender.publishers().publisher(SendEmail)
    at = datetime(2030, 1, 1, tzinfo=UTC)

    await publisher.publish(EMAIL, id="chosen", delay=timedelta(minutes=1), headers={"trace": "t"})
    await publisher.publish(EMAIL, at=at)

    (_, delayed), (_, scheduled) = sender.sent
    assert (delayed.job_id, delayed.is_chosen_id) == ("chosen", True)
    assert delayed.delay == timedelta(minutes=1)
    assert b'"trace":"t"' in delayed.envelope
    assert (scheduled.at, scheduled.is_chosen_id) == (at, False)


async def test_publishing_returns_the_handle_of_the_job(sender: RecordingSender) -> None:
    publisher = sender.publishers().publisher(Resize)

    first = await publisher.publish(Resize.Message(path="abc"), id="one")
    again = await publisher.publish(Resize.Message(path="abc"), id="one")

    assert (first.id, first.queue, first.created) == ("one", "resize", True)
    assert again.created is False
    assert await first.result() == 3


async def test_many_messages_are_published_in_order(sender: RecordingSender) -> None:
    publisher = sender.publishers().publisher(Resize)

    jobs = await publisher.publish_many(Resize.Message(path=path) for path in "ab")

    assert [job.id for job in jobs] == [submission.job_id for _, submission in sender.sent]
    assert [body for _, body in sender.bodies] == [
        b'{"v":1,"body":{"path":"a"}}',
        b'{"v":1,"body":{"path":"b"}}',
    ]


async def test_nothing_is_published_when_one_of_many_is_wrong(sender: RecordingSender) -> None:
    publisher: Any = sender.publishers().publisher(Resize)

    with pytest.raises(WrongMessageError):
        await publisher.publish_many([Resize.Message(path="a"), EMAIL])

    assert sender.sent == []


async def test_the_message_of_another_consumer_is_refused(sender: RecordingSender) -> None:
    publisher: Any = sender.publishers().publisher(Resize)

    with pytest.raises(WrongMessageError):
        await publisher.publish(EMAIL)


async def test_a_message_over_the_limit_is_refused(sender: RecordingSender) -> None:
    publisher = sender.publishers(max_message_bytes=30).publisher(Resize)

    with pytest.raises(MessageTooLargeError):
        await publisher.publish(Resize.Message(path="x" * 30))

    assert sender.sent == []


# In consumers.


class Chained(BaseConsumer):
    QUEUE = "chained"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, emails: EmailPublisher) -> None: ...


@pytest.mark.parametrize("has_app", [True, False])
async def test_a_consumer_publishes_with_and_without_an_app(
    sender: RecordingSender, has_app: bool
) -> None:
    injector = Injector(FastAPI() if has_app else None, {STATE_KEY: sender.publishers()})
    dependencies = injector.plan(definition_of(Chained))
    assert dependencies is not None

    async with dependencies.open() as arguments:
        await arguments["emails"].publish(EMAIL)

    assert sender.bodies == SENT


async def test_the_pool_without_an_app_gives_its_consumers_publishers() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Chained])

    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        async with Injector.without_app(broker, config) as injector:
            dependencies = injector.plan(definition_of(Chained))
            assert dependencies is not None
            async with dependencies.open() as arguments:
                job = await arguments["emails"].publish(EMAIL)
        assert await job.state() is JobState.QUEUED


def test_a_consumer_cannot_publish_where_nothing_runs() -> None:
    with pytest.raises(RequestOnlyDependencyError, match="give the pool an app"):
        Injector(None, None).plan(definition_of(Chained))
