"""What is kept of a return value, and what the publisher gets back of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from pydantic import BaseModel, Field

from redispatcher_fastapi.consumer import (
    BaseConsumer,
    ResultDecodingError,
    ResultEncodingError,
    definition_of,
)

if TYPE_CHECKING:
    from decimal import Decimal

SECRET = "hunter2"


@dataclass
class Point:
    x: int
    when: datetime


class Total(BaseModel):
    amount: int = Field(alias="the-amount")


class HasArea(Protocol):
    area: int


class Base(BaseConsumer):
    class Message(BaseConsumer.Message):
        pass


class Typed(Base):
    QUEUE = "typed"

    async def process_message(self, message: Base.Message) -> dict[str, list[Point]]:
        raise NotImplementedError


class Modelled(Base):
    QUEUE = "modelled"

    async def process_message(self, message: Base.Message) -> Total | None:
        raise NotImplementedError


class Untyped(Base):
    QUEUE = "untyped"

    async def process_message(self, message: Base.Message) -> Any:
        raise NotImplementedError


class Unknowable(Base):
    QUEUE = "unknowable"

    async def process_message(self, message: Base.Message) -> Decimal:
        raise NotImplementedError


class Abstract(Base):
    QUEUE = "abstract"

    async def process_message(self, message: Base.Message) -> HasArea:
        raise NotImplementedError


class Nothing(Base):
    QUEUE = "nothing"

    async def process_message(self, message: Base.Message) -> None:
        raise NotImplementedError


class Later(Base):
    QUEUE = "later"

    async def process_message(self, message: Base.Message) -> list[DefinedBelow]:
        raise NotImplementedError


class DefinedBelow(BaseModel):
    size: int


def through_redis(consumer: Any, value: Any) -> Any:
    definition = definition_of(consumer)
    return definition.decode_result(definition.encode_result(value))


@pytest.mark.parametrize(
    ("consumer", "value"),
    [
        (Typed, {"a": [Point(1, datetime(2026, 1, 1, tzinfo=UTC))]}),
        (Modelled, Total.model_validate({"the-amount": 3})),
        (Modelled, None),
        (Untyped, {"a": [1, "b", None]}),
        (Unknowable, 5),
        (Nothing, None),
        (Later, [DefinedBelow(size=3)]),
    ],
)
def test_a_result_comes_back_as_it_was_declared(consumer: Any, value: Any) -> None:
    assert through_redis(consumer, value) == value


def test_none_takes_no_room() -> None:
    assert definition_of(Untyped).encode_result(None) is None


def test_a_consumer_that_declares_to_return_nothing_keeps_nothing() -> None:
    assert definition_of(Nothing).encode_result("surprise") is None


def test_a_type_that_only_describes_is_encoded_by_what_the_value_is() -> None:
    assert definition_of(Abstract).encode_result(Point(1, datetime(2026, 1, 1, tzinfo=UTC)))


def test_what_json_cannot_hold_is_an_error_that_names_its_type() -> None:
    with pytest.raises(
        ResultEncodingError,
        match=r"Untyped\.process_message returned a value of type Untyped that.*JSON",
    ):
        definition_of(Untyped).encode_result(Untyped())


def test_a_result_that_contains_itself_is_an_error() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ResultEncodingError):
        definition_of(Untyped).encode_result(endless)


def test_a_stored_result_of_another_type_is_an_error_without_its_value() -> None:
    with pytest.raises(ResultDecodingError, match=r"Typed\.process_message") as caught:
        definition_of(Typed).decode_result(b'{"a": "%b"}' % SECRET.encode())

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
