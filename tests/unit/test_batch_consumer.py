"""What is read off a batch consumer when its class is created, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchEndedError,
    BatchItem,
    ConfigurationError,
    ConsumerDefinitionError,
    JobContext,
)
from redispatcher_fastapi.consumer import ResultEncodingError, definition_of
from redispatcher_fastapi.consumer.batch import Verdicts
from tests.unit import typed_only


class Message(BatchConsumer.Message):
    number: int


async def process(self: Any, items: Any) -> None: ...


def create(**attributes: Any) -> type[BatchConsumer]:
    """Create a batch consumer with these attributes beside those that it needs."""
    found = {
        "QUEUE": "batches",
        "BATCH": Batch(size=10),
        "Message": Message,
        "process_batch": process,
        **attributes,
    }
    present = {name: value for name, value in found.items() if value is not None}
    return type("Made", (BatchConsumer,), present)


def test_a_batch_consumer_has_a_definition_like_any_other() -> None:
    definition = definition_of(create())

    assert definition.batch == Batch(size=10, linger=timedelta(seconds=1))
    assert definition.method == "process_batch"
    assert definition.is_async
    assert definition.queue == "batches"


def test_what_a_base_has_is_inherited() -> None:
    class Base(BatchConsumer):
        BATCH = Batch(size=7)

        async def process_batch(self, items: Sequence[BatchItem[Any, int]]) -> None: ...

    class Derived(Base):
        QUEUE = "derived"

        class Message(BatchConsumer.Message):
            pass

    assert definition_of(Derived).batch == Batch(size=7)


@pytest.mark.parametrize("size", [0, -1, 1001, True, 1.5, "10", None])
def test_an_impossible_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Batch\.size must be .* from 1 to 1000"):
        Batch(size=size)


@pytest.mark.parametrize(
    "linger", [timedelta(seconds=-1), timedelta(seconds=60, microseconds=1), 1, None]
)
def test_an_impossible_linger_is_refused(linger: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Batch\.linger must be .* longer than 60 s"):
        Batch(size=1, linger=linger)


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("linger", [timedelta(), timedelta(seconds=60)])
def test_the_limits_themselves_are_taken(size: int, linger: timedelta) -> None:
    assert Batch(size=size, linger=linger).size == size


def process_message(self: Any, message: Any) -> None: ...


async def around(self: Any, run: Any, context: Any) -> Any: ...


def around_batch(self: Any, run: Any, items: Any) -> Any: ...


async def generate(self: Any, items: Any) -> Any:
    yield


async def take_nothing(self: Any) -> None: ...


async def take_message(self: Any, message: Message) -> None: ...


async def take_list(self: Any, items: list[BatchItem[Message]]) -> None: ...


async def take_messages(self: Any, items: Sequence[Message]) -> None: ...


async def take_others(self: Any, items: Sequence[BatchItem[int]]) -> None: ...


async def return_results(self: Any, items: Any) -> list[int]:
    return []


def return_awaitable(self: Any, items: Any) -> Awaitable[None]:
    return process(self, items)


async def take_headers(self: Any, items: Any, headers: Any) -> None: ...


async def take_context(self: Any, items: Any, context: JobContext) -> None: ...


async def take_more(self: Any, items: Any, more: int) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"BATCH": None}, "BATCH must be a Batch, as in"),
        ({"BATCH": 100}, "BATCH must be a Batch, as in"),
        ({"process_batch": None}, "has a QUEUE but no process_batch: add"),
        ({"process_batch": staticmethod(process)}, "must be a plain method"),
        ({"process_batch": generate}, "is a generator"),
        ({"process_message": process_message}, "its process_message would never be called"),
        ({"around": around}, "override `async def around_batch"),
        ({"around_batch": around_batch}, "around_batch must be `async def"),
        ({"process_batch": take_nothing}, "must take the items as its first parameter"),
        ({"process_batch": take_message}, "is given a sequence of items"),
        ({"process_batch": take_list}, "is given a sequence of items"),
        ({"process_batch": take_messages}, "is given a sequence of items"),
        ({"process_batch": take_others}, "takes int as its message, but .* Message is Message"),
        ({"process_batch": return_results}, "must return None, as each item has a result"),
        ({"process_batch": return_awaitable}, "must return None, as each item has a result"),
        ({"process_batch": take_headers}, r"take it from each item, as in `item\.headers`"),
        ({"process_batch": take_context}, r"take it from each item, as in `item\.context`"),
        ({"process_batch": take_more}, "nothing can be given to 'more'"),
        ({"Message": None}, "no Message of its own"),
    ],
)
def test_a_definition_that_could_not_work_is_refused(
    attributes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConsumerDefinitionError, match=problem) as refused:
        create(**attributes)

    assert str(refused.value).startswith("Made")


def test_a_batch_of_a_consumer_of_single_messages_is_refused() -> None:
    with pytest.raises(ConsumerDefinitionError, match="let it inherit from BatchConsumer"):
        type(
            "Single",
            (BaseConsumer,),
            {
                "QUEUE": "single",
                "BATCH": Batch(size=2),
                "Message": Message,
                "process_message": process_message,
            },
        )


async def get_number() -> int:
    return 1


async def take_iterable(self: Any, items: Iterable[BatchItem[Message, int]]) -> None: ...


async def take_collection(self: Any, items: Collection[BatchItem[Message, int]], /) -> None: ...


async def take_dependency(
    self: Any,
    items: Sequence[BatchItem[Message, int]],
    number: Annotated[int, Depends(get_number)],
    limit: int = 3,
) -> None: ...


@pytest.mark.parametrize("method", [take_iterable, take_collection, take_dependency])
def test_whatever_a_sequence_can_be_given_for_may_be_taken(method: Callable[..., Any]) -> None:
    definition = definition_of(create(process_batch=method))

    assert definition.decode_result(b"5") == 5


def test_dependencies_are_found() -> None:
    definition = definition_of(create(process_batch=take_dependency))

    assert definition.dependency_parameters == ("number",)


async def take_bare(self: Any, items: Any) -> None: ...


take_bare.__annotations__["items"] = "Sequence[BatchItem]"


@pytest.mark.parametrize("method", [process, take_bare])
def test_without_types_a_result_may_be_anything(method: Callable[..., Any]) -> None:
    definition = definition_of(create(process_batch=method))

    assert definition.encode_result({"a": [1]}) == b'{"a":[1]}'


async def take_no_results(self: Any, items: Sequence[BatchItem[Message]]) -> None: ...


def test_an_item_without_a_result_type_has_none() -> None:
    definition = definition_of(create(process_batch=take_no_results))

    assert definition.returns_nothing
    assert definition.encode_result(5) is None


def test_a_result_type_may_be_defined_after_the_class() -> None:
    assert definition_of(typed_only.Early).encode_result(typed_only.Late(number=1)) is not None
    with pytest.raises(ResultEncodingError, match=r"Early\.process_batch"):
        definition_of(typed_only.Early).encode_result(object())


class TestItem:
    def make(self, verdicts: Verdicts) -> BatchItem[Any, Any]:
        context = JobContext("a", "batches", 2, {"b": 1}, datetime.now(UTC))
        return BatchItem(Message(number=1), context, verdicts)

    def test_it_shows_what_it_is(self) -> None:
        item = self.make(Verdicts())

        assert (item.id, item.attempt, item.headers) == ("a", 2, {"b": 1})
        assert repr(item) == "BatchItem(id='a', attempt=2)"

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("succeed", []),
            ("fail", [ValueError()]),
            ("retry", []),
            ("snooze", [timedelta()]),
            ("reject", ["no"]),
        ],
    )
    def test_nothing_can_be_said_after_the_end(self, method: str, arguments: list[Any]) -> None:
        verdicts = Verdicts(is_over=True)

        with pytest.raises(BatchEndedError, match="batch of job a has ended"):
            getattr(self.make(verdicts), method)(*arguments)

        assert verdicts.said == {}

    def test_what_could_not_be_raised_cannot_be_said(self) -> None:
        item = self.make(Verdicts())

        with pytest.raises(TypeError, match="fails with an exception, not with str"):
            item.fail("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="Retry needs a timedelta"):
            item.retry(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="negative"):
            item.snooze(timedelta(seconds=-1))
