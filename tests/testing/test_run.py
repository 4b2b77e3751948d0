"""``run`` takes one message the whole way, without the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    JobFailedError,
    JobState,
    MessageTooLargeError,
    Redispatcher,
    RedispatcherConfig,
    Reject,
    RequestOnlyDependencyError,
    Retry,
    Snooze,
    WrongMessageError,
)
from redispatcher_fastapi.consumer import ResultEncodingError
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.testing import FailedRunsError, RedispatcherTester
from tests.testing.shop import NOWHERE, Flaky, Price, Relay, Traced, Welcome, get_prices


async def get_loop() -> int:
    return id(asyncio.get_running_loop())


async def get_session(request: Request) -> AsyncGenerator[list[str], None]:
    log: list[str] = request.app.state.log
    log.append("opened")
    try:
        yield log
    except ValueError:
        log.append("rolled back")
        raise
    log.append("committed")


class Where(BaseConsumer):
    """Tells the event loop and the thread it runs in."""

    QUEUE = "where"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self, message: Message, loop: Annotated[int, Depends(get_loop)]
    ) -> tuple[int, int]:
        return loop, threading.get_ident()


class Store(BaseConsumer):
    QUEUE = "store"

    class Message(BaseConsumer.Message):
        item: str

    async def process_message(
        self, message: Message, session: Annotated[list[str], Depends(get_session)]
    ) -> None:
        if message.item == "bad":
            raise ValueError(message.item)
        session.append(message.item)


class Odd(BaseConsumer):
    """Returns what has no JSON."""

    QUEUE = "odd"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> object:
        return object()


async def test_the_result_comes_back_typed(tester: RedispatcherTester) -> None:
    result = await tester.run(
        Welcome, Welcome.Message(email="a"), headers=Welcome.Headers(tenant="north")
    )

    assert result == "a of north"


async def test_message_and_result_go_through_json_and_around_is_run(
    tester: RedispatcherTester,
) -> None:
    message = Traced.Message(when=datetime(2030, 1, 1, tzinfo=UTC))

    assert await tester.run(Traced, message, attempt=4) == ["around 4", "datetime"]


async def test_a_message_that_was_spoilt_after_its_validation_is_refused_as_by_publish(
    tester: RedispatcherTester,
) -> None:
    message = Welcome.Message.model_construct(name="only")

    with pytest.raises(EnvelopeError, match="email: Field required"):
        await tester.run(Welcome, message)


async def test_the_message_of_another_consumer_is_refused(tester: RedispatcherTester) -> None:
    with pytest.raises(WrongMessageError):
        await tester.run(Welcome, Price.Message(article="apple"))  # type: ignore[misc]  # the point


async def test_a_message_that_is_too_large_to_publish_is_too_large_to_run() -> None:
    config = RedispatcherConfig(redis_dsn=NOWHERE, consumers=[Welcome], max_message_bytes=100)

    async with RedispatcherTester(Redispatcher(config)) as tester:
        with pytest.raises(MessageTooLargeError):
            await tester.run(Welcome, Welcome.Message(email="x" * 100))


@pytest.mark.parametrize(
    ("raises", "error"),
    [
        ("snooze", Snooze),
        ("retry", Retry),
        ("reject", Reject),
        ("exit", SystemExit),
        ("a fault", ValueError),
    ],
)
async def test_what_the_handler_raises_is_raised(
    tester: RedispatcherTester, raises: str, error: type[BaseException]
) -> None:
    with pytest.raises(error) as raised:
        await tester.run(Flaky, Flaky.Message(raises=raises))

    if error is ValueError:
        assert str(raised.value) == "a fault"
        assert raised.traceback[-1].name == "process_message"
    if error is Snooze:
        assert raised.value.delay == timedelta(minutes=5)  # type: ignore[attr-defined]  # a Snooze


class Busy(Snooze):
    def __init__(self, what: str) -> None:
        super().__init__(timedelta(minutes=1))
        self.what = what


class Lazy(BaseConsumer):
    QUEUE = "lazy"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        raise Busy("printer")


async def test_a_snooze_of_the_handler_s_own_kind_is_raised_as_it_is(
    tester: RedispatcherTester,
) -> None:
    with pytest.raises(Busy) as raised:
        await tester.run(Lazy, Lazy.Message())

    assert raised.value.what == "printer"
    assert raised.traceback[-1].name == "process_message"


@pytest.mark.parametrize("raises", ["exit", "a fault"])
def test_what_the_handler_raises_is_raised_without_async_and_the_app_survives(
    tester: RedispatcherTester, app: FastAPI, raises: str
) -> None:
    with TestClient(app) as client:
        with pytest.raises((SystemExit, ValueError)):
            tester.run_blocking(Flaky, Flaky.Message(raises=raises))

        assert client.get("/price", params={"article": "apple"}).json() == 3


async def test_the_last_attempt_raises_like_the_first(tester: RedispatcherTester) -> None:
    with pytest.raises(ValueError, match="a fault"):
        await tester.run(Flaky, Flaky.Message(raises="a fault"), attempt=3)
    assert await tester.run(Flaky, Flaky.Message(raises="x", until_attempt=3), attempt=3) == 3


async def test_attempts_count_from_one(tester: RedispatcherTester) -> None:
    with pytest.raises(ConfigurationError, match="count from 1"):
        await tester.run(Flaky, Flaky.Message(raises="x"), attempt=0)


async def test_a_result_without_json_is_an_error(tester: RedispatcherTester) -> None:
    with pytest.raises(ResultEncodingError):
        await tester.run(Odd, Odd.Message())


async def test_overrides_replace_dependencies_and_win_over_those_of_the_app(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    app.dependency_overrides[get_prices] = lambda: {"apple": 10, "pear": 20}
    async with RedispatcherTester(dispatcher, app) as tester:
        apple = Price.Message(article="apple")

        assert await tester.run(Price, apple) == 10
        assert await tester.run(Price, apple, overrides={get_prices: lambda: {"apple": 0}}) == 0
        assert await tester.run(Price, apple) == 10


async def test_a_dependency_sees_the_app_and_what_its_lifespan_set_up(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    async with RedispatcherTester(dispatcher, app) as tester, tester.lifespan() as state:
        assert state["started"] == "yes"
        assert await tester.run(Price, Price.Message(article="pear")) == 4


async def test_a_dependency_that_needs_the_app_is_refused_without_one(
    tester: RedispatcherTester,
) -> None:
    with pytest.raises(
        RequestOnlyDependencyError, match=r"give the tester the app: RedispatcherTester\(disp"
    ):
        await tester.run(Price, Price.Message(article="apple"))


async def test_dependencies_are_closed_and_see_the_failure(
    dispatcher: Redispatcher, app: FastAPI
) -> None:
    app.state.log = log = list[str]()
    async with RedispatcherTester(dispatcher, app) as tester:
        await tester.run(Store, Store.Message(item="good"))
        with pytest.raises(ValueError, match="bad"):
            await tester.run(Store, Store.Message(item="bad"))

    assert log == ["opened", "good", "committed", "opened", "rolled back"]


async def test_what_a_consumer_publishes_is_captured_and_the_run_itself_is_not(
    tester: RedispatcherTester,
) -> None:
    await tester.run(Relay, Relay.Message(times=2))

    assert tester.published_counts == {"welcome": 1, "relay": 1}
    assert tester.runs == []


def test_without_async_it_runs_in_the_loop_of_the_running_app(
    tester: RedispatcherTester, app: FastAPI
) -> None:
    @app.get("/loop")
    async def where() -> int:  # pyright: ignore[reportUnusedFunction]  # FastAPI calls it
        return id(asyncio.get_running_loop())

    with TestClient(app) as client:
        loop, _ = tester.run_blocking(Where, Where.Message())
        assert loop == client.get("/loop").json()


def test_without_async_and_without_an_app_it_runs_in_the_thread_of_the_test(
    tester: RedispatcherTester,
) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        _, thread = tester.run_blocking(Where, Where.Message())

        assert thread == threading.get_ident()
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def test_blocking_an_event_loop_is_refused(tester: RedispatcherTester) -> None:
    with pytest.raises(ConfigurationError, match="without `_blocking`"):
        tester.run_blocking(Welcome, Welcome.Message(email="a"))
    with pytest.raises(ConfigurationError, match="without `_blocking`"):
        tester.run_until_idle_blocking()


async def test_a_result_over_the_limit_fails_in_a_test_as_in_a_pool() -> None:
    class Verbose(BaseConsumer):
        QUEUE = "verbose"

        class Message(BaseConsumer.Message):
            length: int

        async def process_message(self, message: Message) -> str:
            return "x" * message.length

    config = RedispatcherConfig(redis_dsn=NOWHERE, consumers=[Verbose], max_result_bytes=10)
    async with RedispatcherTester(Redispatcher(config)) as tester:
        assert await tester.run(Verbose, Verbose.Message(length=8)) == "x" * 8
        with pytest.raises(JobFailedError, match="more than the limit of 10"):
            await tester.run(Verbose, Verbose.Message(length=9))
        job = await Verbose.publish(Verbose.Message(length=9), tester.redis_client)
        with pytest.raises(FailedRunsError, match="more than the limit of 10"):
            await tester.run_until_idle()

        assert await job.state() is JobState.DEAD
