"""What goes around a run: what it sees, what is visible inside, and what it may do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import Depends, FastAPI
from pydantic import Field

from redispatcher_fastapi import (
    BaseConsumer,
    CallNext,
    Fixed,
    JobContext,
    Middleware,
    Reject,
    RetryPolicy,
    Run,
    Snooze,
)
from redispatcher_fastapi.broker.types import (
    Died,
    Outcome,
    Retried,
    Snoozed,
)
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.execution import Execution
from redispatcher_fastapi.injection import Injector
from tests.unit.delivering import PUBLISHED_AT, deliver, error_of, result

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def get_tenant() -> str:
    return tenant.get()


async def open_tenant() -> AsyncGenerator[str, None]:
    yield tenant.get()


class Log(BaseConsumer):
    """Tells whose it is, wherever that can be asked."""

    QUEUE = "log"
    RETRY = RetryPolicy(max_attempts=3, backoff=Fixed(timedelta(seconds=5)))
    notes: ClassVar[list[str]] = []

    class Message(BaseConsumer.Message):
        text: str = ""
        raises: bool = False

    async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
        self.notes.append("around")
        return await run()

    async def process_message(
        self,
        message: Message,
        threaded: Annotated[str, Depends(get_tenant)],
        opened: Annotated[str, Depends(open_tenant)],
    ) -> list[str]:
        self.notes.append("handler")
        if message.raises:
            raise ValueError("in the handler")
        return [tenant.get(), threaded, opened]


class Sync(BaseConsumer):
    QUEUE = "sync"

    class Message(BaseConsumer.Message):
        pass

    def process_message(self, message: Message) -> list[Any]:
        return [tenant.get(), threading.current_thread() is threading.main_thread()]


class Plain(BaseConsumer):
    """Needs nothing but its message."""

    QUEUE = "plain"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> str:
        return tenant.get()


class Slow(BaseConsumer):
    QUEUE = "slow"
    TIMEOUT = timedelta(milliseconds=1)

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        await asyncio.Event().wait()


class Aliased(BaseConsumer):
    QUEUE = "aliased"

    class Message(BaseConsumer.Message):
        pass

    class Headers(BaseConsumer.Headers):
        number: int = Field(alias="X-Number")

    async def process_message(self, message: Message) -> None: ...


class ForTenant(Middleware):
    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        token = tenant.set(run.headers["tenant"])
        try:
            return await call_next()
        finally:
            tenant.reset(token)


class Seeing(Middleware):
    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.results: list[Any] = []
        self.errors: list[BaseException] = []

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        self.runs.append(run)
        Log.notes.append("middleware")
        try:
            result = await call_next()
        except BaseException as error:
            self.errors.append(error)
            raise
        self.results.append(result)
        return result


class Doing(Middleware):
    """Does what it is told to before, and returns or raises after."""

    def __init__(
        self,
        *,
        returns: Any = None,
        before: BaseException | None = None,
        after: BaseException | None = None,
        calls: int = 1,
        swallows: bool = False,
    ) -> None:
        self._returns = returns
        self._before = before
        self._after = after
        self._calls = calls
        self._swallows = swallows

    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        if self._before is not None:
            raise self._before
        for _ in range(self._calls):
            try:
                await call_next()
            except ValueError as error:
                if self._after is not None:
                    raise self._after from error
                if not self._swallows:
                    raise
        if self._after is not None:
            raise self._after
        return self._returns


def execution(consumer: type[BaseConsumer], *middleware: Middleware) -> Execution:
    definition = definition_of(consumer)
    return Execution(
        definition,
        max_message_bytes=1000,
        max_result_bytes=1000,
        dependencies=Injector(FastAPI(), {}).plan(definition),
        middleware=middleware,
    )


async def run(
    consumer: type[BaseConsumer], *middleware: Middleware, message: Any = None, **headers: Any
) -> Outcome:
    delivery = deliver(message or consumer.Message(), consumer, **headers)
    return await execution(consumer, *middleware).run(delivery)


@pytest.fixture(autouse=True)
def _forget() -> None:
    Log.notes.clear()


async def test_what_a_middleware_sets_is_visible_in_dependencies_and_handler() -> None:
    assert result(await run(Log, ForTenant(), tenant="blue")) == b'["blue","blue","blue"]'
    assert result(await run(Plain, ForTenant(), tenant="blue")) == b'"blue"'


async def test_what_a_middleware_sets_is_visible_in_a_thread() -> None:
    assert result(await run(Sync, ForTenant(), tenant="blue")) == b'["blue",false]'


async def test_a_middleware_sees_the_run_and_its_result_and_is_outside_of_around() -> None:
    seeing = Seeing()
    message = Log.Message(text="a")
    delivery = deliver(message, Log, tenant="blue")

    await execution(Log, Middleware(), seeing).run(delivery)

    (seen,) = seeing.runs
    assert (seen.consumer, seen.message, seen.headers) == (Log, message, {"tenant": "blue"})
    assert (seen.context.id, seen.context.queue, seen.context.attempt) == (
        delivery.job_id,
        "log",
        2,
    )
    assert seen.context.published_at == PUBLISHED_AT
    assert seeing.results == [["nobody", "nobody", "nobody"]]
    assert Log.notes == ["middleware", "around", "handler"]


async def test_headers_go_by_the_names_under_which_they_were_published() -> None:
    seeing = Seeing()

    await run(Aliased, seeing, tenant="blue", **{"X-Number": 3})

    assert seeing.runs[0].headers == {"X-Number": 3, "tenant": "blue"}


async def test_headers_that_do_not_fit_are_found_out_before() -> None:
    seeing = Seeing()
    delivery = deliver(Aliased.Message(), Aliased, **{"X-Number": 3})
    delivery.envelope = b'{"v":1,"headers":{"X-Number":"three"},"body":{}}'

    outcome = await execution(Aliased, seeing).run(delivery)

    assert isinstance(outcome, Died)
    assert (outcome.reason, seeing.runs) == ("invalid_message", [])


async def test_the_first_is_the_outermost() -> None:
    outcome = await run(Log, Doing(returns="outer"), Doing(returns="inner"))

    assert result(outcome) == b'"outer"'


async def test_none_leaves_the_result_that_there_is() -> None:
    assert result(await run(Log, Doing())) == b'["nobody","nobody","nobody"]'
    assert result(await run(Log, Doing(), Doing(returns="inner"))) == b'"inner"'


async def test_without_a_call_the_handler_is_not_run() -> None:
    assert result(await run(Log, Doing(returns="skipped", calls=0))) == b'"skipped"'
    assert result(await run(Log, Doing(calls=0))) is None
    assert Log.notes == []


async def test_an_error_of_a_middleware_is_the_attempts_and_names_it() -> None:
    before = await run(Log, Seeing(), Doing(before=LookupError("no tenant")))
    after = await run(Log, Seeing(), Doing(after=LookupError("no tenant")))

    for outcome in (before, after):
        assert isinstance(outcome, Retried)
        assert outcome.delay == timedelta(seconds=5)
        assert error_of(outcome) == "LookupError: no tenant (raised by the middleware Doing)"
        assert outcome.error.traceback is not None
        assert "raised by the middleware Doing" in outcome.error.traceback


async def test_an_error_of_the_handler_is_passed_on_unnamed() -> None:
    seeing = Seeing()

    outcome = await run(Log, Doing(), seeing, message=Log.Message(raises=True))

    assert error_of(outcome) == "ValueError: in the handler"
    assert [str(error) for error in seeing.errors] == ["in the handler"]


async def test_a_middleware_may_put_another_error_in_its_place() -> None:
    outcome = await run(Log, Doing(after=KeyError("other")), message=Log.Message(raises=True))

    assert error_of(outcome) == "KeyError: 'other' (raised by the middleware Doing)"


async def test_a_middleware_may_swallow_an_error() -> None:
    outcome = await run(Log, Doing(swallows=True), message=Log.Message(raises=True))

    assert result(outcome) is None


async def test_a_middleware_may_run_it_again() -> None:
    await run(Log, Doing(calls=2))

    assert Log.notes == ["around", "handler"] * 2


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (Reject("no such tenant"), Died("rejected")),
        (Snooze(timedelta(minutes=1)), Snoozed(timedelta(minutes=1))),
    ],
)
async def test_a_middleware_decides_as_a_handler_does(
    raised: Exception, expected: Died | Snoozed
) -> None:
    outcome = await run(Log, Doing(before=raised))

    assert type(outcome) is type(expected)
    if isinstance(outcome, Died):
        assert outcome.reason == "rejected"
        assert error_of(outcome).startswith("Reject: no such tenant")
    else:
        assert outcome == expected


async def test_even_a_system_exit_is_the_attempts_error() -> None:
    assert isinstance(await run(Plain, Doing(before=SystemExit(3))), (Died, Retried))


async def test_an_error_that_takes_no_notes_stays_as_it_is() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        def add_note(self, note: str, /) -> None:
            raise TypeError("frozen")

    outcome = await run(Log, Doing(before=Frozen("no")))

    assert error_of(outcome).endswith("Frozen: no")


async def test_a_middleware_is_outside_of_the_timeout_and_sees_it() -> None:
    seeing = Seeing()

    outcome = await run(Slow, seeing)

    assert error_of(outcome).startswith("JobTimeoutError: It ran longer than 0.001 s")
    assert [type(error).__name__ for error in seeing.errors] == ["JobTimeoutError"]
    assert isinstance(seeing.errors[0], TimeoutError)


async def test_a_cancellation_goes_through() -> None:
    seeing, started = Seeing(), asyncio.Event()

    class Starting(Middleware):
        async def around_run(self, run: Run, call_next: CallNext) -> Any:
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run(Plain, seeing, Starting()))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(error) for error in seeing.errors] == [asyncio.CancelledError]


async def test_a_consumer_that_cannot_be_made_is_seen_as_well() -> None:
    class Broken(BaseConsumer):
        QUEUE = "broken"

        class Message(BaseConsumer.Message):
            pass

        def __init__(self) -> None:
            raise LookupError("no settings")

        async def process_message(self, message: Message) -> None: ...

    seeing = Seeing()

    assert error_of(await run(Broken, seeing)) == "LookupError: no settings"
    assert len(seeing.errors) == 1
