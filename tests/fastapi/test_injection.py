# No `from __future__ import annotations`: some tests are about annotations that are objects.
import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from datetime import timedelta
from functools import partial, wraps
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
    WebSocket,
)
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from typing_extensions import TypeAliasType

from redispatcher_fastapi.consumer import BaseConsumer, definition_of
from redispatcher_fastapi.errors import ConsumerDefinitionError, RequestOnlyDependencyError
from redispatcher_fastapi.injection import Dependencies, Injector

if TYPE_CHECKING:
    from decimal import Decimal as CheckerOnly


def plan(dependency: Any, *, injector: Injector | None = None) -> Dependencies:
    """Compile a consumer whose parameter ``value`` has ``Depends(dependency)``."""

    class Probe(BaseConsumer):
        QUEUE = "probe"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(
            self, message: Message, value: Annotated[Any, Depends(dependency)]
        ) -> None: ...

    injector = injector or Injector(FastAPI(), {})
    dependencies = injector.plan(definition_of(Probe))
    assert dependencies is not None
    return dependencies


async def solve(dependency: Any, *, injector: Injector | None = None) -> Any:
    """Return the value that one run is given for ``dependency``."""
    async with plan(dependency, injector=injector).open() as arguments:
        return arguments["value"]


class Session:
    pass


async def get_number() -> int:
    return 7


Number = Annotated[int, Depends(get_number)]
StatedNumber = TypeAliasType("StatedNumber", Annotated[int, Depends(get_number)])


# What can be depended on.


def test_a_consumer_without_dependencies_has_no_plan() -> None:
    class Plain(BaseConsumer):
        QUEUE = "plain"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message, limit: int = 3) -> None: ...

    assert Injector(None, None).plan(definition_of(Plain)) is None


async def test_an_async_function_is_awaited() -> None:
    assert await solve(get_number) == 7


async def test_a_plain_function_runs_in_a_thread() -> None:
    def get_thread() -> int:
        return threading.get_ident()

    assert await solve(get_thread) != threading.get_ident()


async def test_a_class_is_instantiated() -> None:
    assert isinstance(await solve(Session), Session)


async def test_a_class_gets_the_dependencies_of_its_constructor() -> None:
    class Repository:
        def __init__(self, number: Annotated[int, Depends(get_number)], limit: int = 10) -> None:
            self.contents = number, limit

    assert (await solve(Repository)).contents == (7, 10)


async def test_an_object_with_an_async_call_is_awaited() -> None:
    class Reader:
        async def __call__(self, number: Annotated[int, Depends(get_number)]) -> int:
            return number + 1

    assert await solve(Reader()) == 8


async def test_a_bound_method_gets_its_dependencies() -> None:
    class Factory:
        async def make(self, number: Annotated[int, Depends(get_number)]) -> int:
            return number + 2

    assert await solve(Factory().make) == 9


async def test_a_partial_keeps_its_arguments() -> None:
    async def add(left: int, number: Annotated[int, Depends(get_number)]) -> int:
        return left + number

    assert await solve(partial(add, 3)) == 10


async def test_a_decorated_function_is_seen_through() -> None:
    def doubled(function: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
        @wraps(function)
        async def double(*args: Any, **kwargs: Any) -> int:
            return 2 * await function(*args, **kwargs)

        return double

    @doubled
    async def get_sum(number: Annotated[int, Depends(get_number)]) -> int:
        return number + 1

    assert await solve(get_sum) == 16


async def test_a_lambda_can_be_depended_on() -> None:
    assert await solve(lambda: "made") == "made"


async def test_the_default_value_style_works() -> None:
    async def get_sum(number: int = Depends(get_number)) -> int:
        return number + 1

    assert await solve(get_sum) == 8


async def test_depends_without_arguments_calls_the_annotation() -> None:
    async def get_session(session: Annotated[Session, Depends()]) -> Session:
        return session

    assert isinstance(await solve(get_session), Session)


async def test_an_annotated_alias_works() -> None:
    async def get_sum(number: Number) -> int:
        return number + 1

    assert await solve(get_sum) == 8


async def test_an_alias_made_with_a_type_statement_works() -> None:
    async def get_sum(number: StatedNumber) -> int:
        return number + 1

    assert await solve(get_sum) == 8


async def test_string_annotations_are_evaluated() -> None:
    async def get_sum(number: "Annotated[int, Depends(get_number)]") -> int:
        return number + 1

    assert await solve(get_sum) == 8


async def test_an_annotation_that_exists_for_the_checker_only_does_no_harm() -> None:
    async def get_both(number: Number, other: "CheckerOnly | None" = None) -> "CheckerOnly | None":
        assert number == 7
        return other

    assert await solve(get_both) is None


async def test_a_parameter_with_a_default_keeps_it() -> None:
    async def get_page(limit: int = 10, *names: str, **options: str) -> int:
        return limit

    assert await solve(get_page) == 10


# Once per run.


async def test_a_dependency_is_solved_once_per_run() -> None:
    async def get_repository(session: Annotated[Session, Depends(Session)]) -> Session:
        return session

    async def get_both(
        first: Annotated[Session, Depends(get_repository)],
        second: Annotated[Session, Depends(Session)],
    ) -> tuple[Session, Session]:
        return first, second

    dependencies = plan(get_both)

    async with dependencies.open() as one, dependencies.open() as other:
        first, second = one["value"]
        assert first is second
        assert other["value"][0] is not first


async def test_use_cache_false_solves_a_dependency_again() -> None:
    async def get_both(
        first: Annotated[Session, Depends(Session)],
        second: Annotated[Session, Depends(Session, use_cache=False)],
        third: Annotated[Session, Depends(Session)],
    ) -> tuple[Session, Session, Session]:
        return first, second, third

    first, second, third = await solve(get_both)

    assert first is third
    assert second is not first


async def test_a_dependency_that_depends_on_itself_is_refused() -> None:
    async def get_one(other: Any) -> None: ...

    async def get_other(one: Annotated[None, Depends(get_one)]) -> None: ...

    get_one.__annotations__["other"] = Annotated[None, Depends(get_other)]

    with pytest.raises(ConsumerDefinitionError, match=r"get_one\(\): .* must not depend on itself"):
        plan(get_one)


# Dependencies with `yield`.


class Recorder:
    """Dependencies that write down what happens to them."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def outer(self) -> AsyncGenerator[str, None]:
        self.events.append("outer opened")
        try:
            yield "outer"
        except Exception as error:
            self.events.append(f"outer saw {error}")
            raise
        finally:
            self.events.append("outer closed")

    def swallowing(self) -> Callable[..., Generator[str]]:
        def inner(outer: Annotated[str, Depends(self.outer)]) -> Generator[str]:
            self.events.append("inner opened")
            try:
                yield f"{outer} inner"
            except Exception as error:
                self.events.append(f"inner swallowed {error}")
            self.events.append("inner closed")

        return inner


async def test_generators_are_closed_in_reverse_order_after_the_run() -> None:
    recorder = Recorder()

    async with plan(recorder.swallowing()).open() as arguments:
        recorder.events.append(f"run with {arguments['value']}")

    assert recorder.events == [
        "outer opened",
        "inner opened",
        "run with outer inner",
        "inner closed",
        "outer closed",
    ]


async def test_a_failure_reaches_every_generator_and_stands_when_one_swallows_it() -> None:
    recorder = Recorder()

    with pytest.raises(ValueError, match="boom"):
        async with plan(recorder.swallowing()).open():
            raise ValueError("boom")

    assert recorder.events[2:] == [
        "inner swallowed boom",
        "inner closed",
        "outer saw boom",
        "outer closed",
    ]


async def test_what_a_generator_raises_instead_takes_the_place_of_the_failure() -> None:
    async def translate() -> AsyncGenerator[None, None]:
        try:
            yield
        except ValueError as error:
            raise KeyError("translated") from error

    with pytest.raises(KeyError) as caught:
        async with plan(translate).open():
            raise ValueError("boom")

    assert isinstance(caught.value.__context__, ValueError)


async def test_a_failure_while_closing_is_raised() -> None:
    async def commit() -> AsyncGenerator[None, None]:
        yield
        raise RuntimeError("commit failed")

    with pytest.raises(RuntimeError, match="commit failed"):
        async with plan(commit).open():
            pass


async def test_what_is_open_is_closed_when_a_later_dependency_fails() -> None:
    recorder = Recorder()

    async def fail(outer: Annotated[str, Depends(recorder.outer)]) -> None:
        raise HTTPException(404, outer)

    with pytest.raises(HTTPException):
        async with plan(fail).open():
            pytest.fail("the run must not start")

    assert recorder.events == ["outer opened", "outer saw 404: outer", "outer closed"]


async def test_a_cancelled_run_may_still_await_while_it_closes() -> None:
    events: list[str] = []

    async def session() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await checkpoint()
            events.append("rolled back")

    with anyio.CancelScope() as scope:
        async with plan(session).open():
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert events == ["rolled back"]


async def test_a_cancelled_run_that_does_not_close_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def session() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await anyio.sleep_forever()

    injector = Injector(None, None, closing_limit=timedelta(milliseconds=10))

    with anyio.CancelScope() as scope:
        async with plan(session, injector=injector).open():
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert "did not close within" in caplog.text


async def test_a_run_that_times_out_still_times_out_when_a_dependency_swallows_it() -> None:
    async def swallow() -> AsyncGenerator[None, None]:
        with suppress(asyncio.CancelledError):
            yield

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), plan(swallow).open():
            await anyio.sleep_forever()


async def test_a_dependency_may_hold_a_task_group_open() -> None:
    async def tasks() -> AsyncGenerator[TaskGroup, None]:
        async with anyio.create_task_group() as group:
            yield group

    ran = anyio.Event()
    async with plan(tasks).open() as arguments:
        arguments["value"].start_soon(_set, ran)

    assert ran.is_set()


async def _set(event: anyio.Event) -> None:
    event.set()


# Overrides.


async def get_text() -> str:
    return "real"


async def test_overrides_of_the_app_count_at_the_time_of_each_run() -> None:
    app = FastAPI()
    dependencies = plan(get_text, injector=Injector(app, {}))
    seen: list[str] = []

    for overrides in ({}, {get_text: lambda: "one"}, {get_text: lambda: "two"}, {}):
        app.dependency_overrides = overrides
        async with dependencies.open() as arguments:
            seen.append(arguments["value"])

    assert seen == ["real", "one", "two", "real"]


async def test_an_override_may_have_dependencies_which_may_be_overridden() -> None:
    async def get_other(number: Annotated[int, Depends(get_number)]) -> str:
        return f"number {number}"

    app = FastAPI()
    app.dependency_overrides = {get_text: get_other, get_number: lambda: 8}

    assert await solve(get_text, injector=Injector(app, {})) == "number 8"


async def test_an_override_replaces_a_dependency_that_needs_a_request() -> None:
    async def get_user(authorization: Annotated[str, Header()]) -> str:
        return authorization

    app = FastAPI()
    app.dependency_overrides[get_user] = lambda: "somebody"

    assert await solve(get_user, injector=Injector(app, {})) == "somebody"


async def test_overrides_of_the_injector_win_over_those_of_the_app() -> None:
    app = FastAPI()
    app.dependency_overrides[get_text] = lambda: "app"
    injector = Injector(app, {}, overrides={get_text: lambda: "injector"})

    assert await solve(get_text, injector=injector) == "injector"


def test_an_override_that_depends_on_what_it_replaces_is_refused() -> None:
    async def wrap(text: Annotated[str, Depends(get_text)]) -> str:
        return text

    injector = Injector(None, None, overrides={get_text: wrap})

    with pytest.raises(ConsumerDefinitionError, match="must not depend on itself"):
        plan(get_text, injector=injector)


# The connection.


async def test_a_dependency_reads_app_and_state_of_its_request() -> None:
    def read(request: Request, connection: HTTPConnection) -> list[Any]:
        return [
            request.app,
            request.app.state.database,
            request.state.cache,
            connection.state.cache,
            Request in type(request).__mro__,
        ]

    app = FastAPI()
    app.state.database = "database"

    value = await solve(read, injector=Injector(app, {"cache": "cache"}))

    assert value == [app, "database", "cache", "cache", True]


async def test_dependencies_of_one_run_share_a_state_of_their_own() -> None:
    async def write(request: Request) -> None:
        request.state.user = "set in this run"

    async def read(request: Request, _: Annotated[None, Depends(write)]) -> Any:
        return getattr(request.state, "user", None)

    state: dict[str, Any] = {}

    assert await solve(read, injector=Injector(FastAPI(), state)) == "set in this run"
    assert state == {}


async def test_a_missing_state_says_where_to_put_it() -> None:
    async def read(request: Request) -> Any:
        return request.state.database

    with pytest.raises(AttributeError, match=r"request\.app\.state\.database"):
        await solve(read)


@pytest.mark.parametrize(
    ("attribute", "read"),
    [
        (name, attrgetter(name))
        for name in dir(Request)
        if not name.startswith("_")
        and name not in {"app", "get", "items", "keys", "scope", "state", "values"}
    ]
    + [("path", itemgetter("path")), ("path", lambda request: request.scope["path"])],
)
async def test_what_only_a_request_has_names_its_reader(
    attribute: str, read: Callable[[Request], Any]
) -> None:
    async def get_client(request: Request) -> Any:
        return read(request)

    with pytest.raises(RequestOnlyDependencyError, match=rf"get_client\(\) reads .*{attribute}"):
        await solve(get_client)


async def test_a_request_still_answers_whether_it_has_something() -> None:
    async def ask(request: Request) -> bool:
        return "session" in request.scope

    assert await solve(ask) is False


def test_without_an_app_a_connection_is_refused_at_start_up() -> None:
    async def get_client(request: HTTPConnection) -> None: ...

    with pytest.raises(RequestOnlyDependencyError, match=r"Probe -> get_client\(\) .*an app"):
        plan(get_client, injector=Injector(None, None))


async def test_without_an_app_other_dependencies_work() -> None:
    assert await solve(get_number, injector=Injector(None, None)) == 7


# What is refused at start-up.


async def takes_query(value: Annotated[int, Query()] = 1) -> None: ...
async def takes_query_by_default(value: int = Query(1)) -> None: ...
async def takes_header(value: Annotated[str, Header()]) -> None: ...
async def takes_path(value: Annotated[str, Path()]) -> None: ...
async def takes_cookie(value: Annotated[str, Cookie()]) -> None: ...
async def takes_body(value: Annotated[str, Body()]) -> None: ...
async def takes_form(value: Annotated[str, Form()]) -> None: ...
async def takes_file(value: Annotated[bytes, File()]) -> None: ...
async def takes_upload(value: UploadFile) -> None: ...
async def takes_response(value: Response) -> None: ...
async def takes_tasks(value: BackgroundTasks) -> None: ...
async def takes_scopes(value: SecurityScopes) -> None: ...
async def takes_socket(value: WebSocket) -> None: ...
async def takes_plain(value: str) -> None: ...
async def takes_anything(value: Any) -> None: ...
async def takes_scoped(value: Annotated[int, Security(get_number, scopes=["me"])]) -> None: ...


del takes_anything.__annotations__["value"]


@pytest.mark.parametrize(
    "dependency",
    [
        takes_query,
        takes_query_by_default,
        takes_header,
        takes_path,
        takes_cookie,
        takes_body,
        takes_form,
        takes_file,
        takes_upload,
        takes_response,
        takes_tasks,
        takes_scopes,
        takes_socket,
        takes_plain,
        takes_anything,
        takes_scoped,
    ],
)
def test_a_parameter_that_needs_a_request_is_refused_with_the_way_to_it(
    dependency: Callable[..., Any],
) -> None:
    async def get_service(inner: Annotated[None, Depends(dependency)]) -> None: ...

    chain = rf"Probe -> get_service\(\) -> {dependency.__name__}\(\): parameter 'value'"
    with pytest.raises(RequestOnlyDependencyError, match=chain):
        plan(get_service)


@pytest.mark.parametrize("scheme", [HTTPBearer(), OAuth2PasswordBearer(tokenUrl="token")])
def test_a_security_scheme_is_refused(scheme: Any) -> None:
    with pytest.raises(RequestOnlyDependencyError, match="credentials"):
        plan(scheme)


async def test_security_without_scopes_is_a_dependency_like_any_other() -> None:
    async def get_sum(number: Annotated[int, Security(get_number)]) -> int:
        return number + 1

    assert await solve(get_sum) == 8


def test_depends_without_anything_to_call_is_refused() -> None:
    async def get_service(inner: Annotated["int | None", Depends()]) -> None: ...

    with pytest.raises(ConsumerDefinitionError, match=r"'inner' has `Depends\(\)` with nothing"):
        plan(get_service)


async def test_depends_on_what_has_no_signature_is_refused_unless_overridden() -> None:
    async def get_service(inner: Annotated[dict[str, int], Depends(dict)]) -> None: ...

    with pytest.raises(ConsumerDefinitionError, match=r"parameter 'inner' depends on dict\(\), "):
        plan(get_service)

    async def get_overridden(inner: Annotated[dict[str, int], Depends(dict)]) -> int:
        return inner["a"]

    app = FastAPI()
    app.dependency_overrides[dict] = lambda: {"a": 1}
    assert await solve(get_overridden, injector=Injector(app, None)) == 1
