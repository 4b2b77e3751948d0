"""What may be unique, and which messages are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, RootModel

from redispatcher_fastapi import (
    AesGcmCipher,
    BaseConsumer,
    ConfigurationError,
    ConsumerConfig,
    ConsumerDefinitionError,
    InvalidOptionError,
    InvalidScheduleError,
    OnConflict,
    Ordered,
    Redispatcher,
    RedispatcherConfig,
    Schedule,
    Sealing,
    SigningKeys,
    Unique,
    UniqueScope,
)
from redispatcher_fastapi.broker.types import Traits
from redispatcher_fastapi.consumer import definition_of, prepare
from redispatcher_fastapi.consumer.lock_keys import lock_key

KEY, OTHER_KEY = "k" * 32, "o" * 32
AES_KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="


class Line(BaseModel):
    sku: str
    tags: frozenset[str] = frozenset()


class Order(BaseConsumer):
    QUEUE = "order"

    class Message(BaseConsumer.Message):
        order_id: int
        at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
        shop: UUID = Field(default=UUID(int=7), alias="shopId")
        lines: list[Line] = Field(default_factory=list[Line])
        weights: dict[str, float] = Field(default_factory=dict[str, float])
        note: str = ""
        secret: str = Field(default="", exclude=True)

    async def process_message(self, message: Message) -> None: ...


def order(order_id: int = 1, **fields: Any) -> Order.Message:
    return Order.Message(order_id=order_id, **fields)


def key_of(message: BaseModel, *fields: str, sealing: Sealing | None = None) -> str:
    return lock_key(message, Unique(fields=fields or None), sealing)


def traits_of(message: Any, **options: Any) -> Traits | None:
    return prepare(definition_of(Order), message, **options).traits


# What is refused when it is declared.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"fields": "order_id"}, r"fields=\(\"order_id\",\), not 'order_id'"),
        ({"fields": ["order_id"]}, "must be a tuple of names"),
        ({"fields": (1,)}, "must be a tuple of names"),
        ({"fields": ()}, "must name one field or several"),
        ({"fields": ("a", "a")}, "each of them once"),
        ({"scope": "done"}, r"UniqueScope\.WAITING, UniqueScope\.DONE or a timedelta, not 'done'"),
        ({"scope": timedelta()}, "a millisecond to 100 years long, not 0:00:00"),
        ({"scope": timedelta(microseconds=999)}, "a millisecond to 100 years long"),
        ({"scope": timedelta(days=36_526)}, "a millisecond to 100 years long"),
        ({"on_conflict": "keep"}, r"OnConflict\.KEEP, .*, not 'keep'"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(options: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Unique(**options)


@pytest.mark.parametrize(
    ("unique", "problem"),
    [
        (
            Unique(fields=("order", "note")),
            r"UNIQUE is to be unique by the field 'order'.* did you mean 'order_id'\?",
        ),
        (Unique(fields=("zzz",)), r"it has order_id, at, shop, .*"),
        (Unique(fields=("shopId",)), "the field 'shopId', which"),
        (Unique(fields=("secret",)), "'secret' of .* is excluded from what is published"),
    ],
)
def test_a_field_that_is_not_published_is_refused_with_the_class(
    unique: Unique, problem: str
) -> None:
    with pytest.raises(ConsumerDefinitionError, match=problem):
        type("Wrong", (Order,), {"QUEUE": "wrong", "UNIQUE": unique})

    with pytest.raises(InvalidOptionError, match=problem.removeprefix("UNIQUE ")):
        traits_of(order(), unique=unique)


def test_a_message_of_another_partition_may_not_take_a_job_over() -> None:
    latest = Unique(fields=("order_id",), on_conflict=OnConflict.REPLACE)
    attributes = {"QUEUE": "wrong", "UNIQUE": latest, "LIMITS": [Ordered(key="shop")]}

    with pytest.raises(
        ConsumerDefinitionError, match=r"Wrong\.UNIQUE has OnConflict\.REPLACE.*'shop'"
    ):
        type("Wrong", (Order,), attributes)


@pytest.mark.parametrize("value", ["order_id", ("order_id",), OnConflict.KEEP, Unique])
def test_only_a_unique_makes_a_consumer_s_messages_unique(value: Any) -> None:
    with pytest.raises(ConsumerDefinitionError, match=r"Wrong\.UNIQUE must be a Unique"):
        type("Wrong", (BaseConsumer,), {"UNIQUE": value})

    with pytest.raises(InvalidOptionError, match="The publish to Order needs a Unique"):
        traits_of(order(), unique=value)


def test_a_base_may_leave_the_fields_to_the_consumers_that_have_them() -> None:
    class OncePerOrder(BaseConsumer):
        UNIQUE = Unique(fields=("order_id",))

    class Ship(OncePerOrder):
        QUEUE = "ship"

        class Message(BaseConsumer.Message):
            order_id: int

        async def process_message(self, message: Message) -> None: ...

    assert definition_of(Ship).unique == OncePerOrder.UNIQUE


def test_debouncing_needs_a_time_to_start() -> None:
    debounced = Unique(on_conflict=OnConflict.DEBOUNCE)

    with pytest.raises(InvalidOptionError, match="give it the `delay` after which"):
        traits_of(order(), unique=debounced)
    with pytest.raises(InvalidOptionError, match="give it the `delay` after which"):
        traits_of(order(), unique=debounced, delay=timedelta())

    assert traits_of(order(), unique=debounced, delay=timedelta(seconds=1)) is not None
    assert traits_of(order(), unique=debounced, at=datetime(2030, 1, 1, tzinfo=UTC)) is not None


async def test_what_a_schedule_makes_cannot_be_debounced() -> None:
    attributes = {"QUEUE": "calm", "UNIQUE": Unique(on_conflict=OnConflict.DEBOUNCE)}
    hourly = Schedule("hourly", order(), every=timedelta(hours=1))
    problem = r"cannot be put off by OnConflict\.DEBOUNCE"

    with pytest.raises(ConsumerDefinitionError, match=rf"Calm\.SCHEDULES: .* {problem}"):
        type("Calm", (Order,), {**attributes, "SCHEDULES": [hourly]})
    calm: Any = type("Calm", (Order,), attributes)
    with pytest.raises(ConfigurationError, match=f"Calm: .* {problem}"):
        ConsumerConfig(consumer_class=calm, schedules=[hourly])
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://"))
    async with dispatcher.lifespan():
        with pytest.raises(InvalidScheduleError, match=problem):
            await dispatcher.schedules.upsert("h", calm, order(), every=timedelta(hours=1))


@pytest.mark.parametrize("on_conflict", [OnConflict.REPLACE, OnConflict.DEBOUNCE])
def test_a_sealed_message_cannot_take_the_place_of_another(on_conflict: OnConflict) -> None:
    sealing = Sealing(signing=SigningKeys({"1": KEY}))
    unique = Unique(fields=("order_id",), on_conflict=on_conflict)
    both = rf"both `sealing` and on_conflict=OnConflict\.{on_conflict.name}"

    with pytest.raises(ConfigurationError, match=f"The publish to Order cannot have {both}"):
        traits_of(order(), unique=unique, sealing=sealing, delay=timedelta(seconds=1))

    consumer: Any = type("Latest", (Order,), {"QUEUE": "latest", "UNIQUE": unique})
    with pytest.raises(ConfigurationError, match=rf"Latest\.UNIQUE cannot have {both}"):
        RedispatcherConfig(redis_dsn="memory://", consumers=[consumer], sealing=sealing)


# Which messages are the same.


def test_what_the_chosen_fields_have_in_common_counts() -> None:
    one = order(note="a", weights={"x": 1.5, "y": 2})

    assert key_of(one, "order_id") == key_of(order(note="b"), "order_id")
    assert key_of(one, "order_id") != key_of(order(2), "order_id")
    assert key_of(one, "order_id", "note") != key_of(order(note="b"), "order_id", "note")
    assert key_of(one, "shop") != key_of(order(shopId=UUID(int=8)), "shop")
    assert key_of(one, "note", "order_id") == key_of(one, "order_id", "note")


def test_without_fields_the_whole_message_counts() -> None:
    one = order(weights={"x": 1.5, "y": 2})

    assert key_of(one) == key_of(order(weights={"y": 2, "x": 1.5}))
    assert key_of(one) != key_of(order(weights={"x": 1.5, "y": 3}))
    assert key_of(one) == key_of(order(weights={"x": 1.5, "y": 2}, secret="not published"))


def test_the_order_of_a_list_counts() -> None:
    a, b = Line(sku="a"), Line(sku="b")

    assert key_of(order(lines=[a, b])) != key_of(order(lines=[b, a]))


def test_values_of_different_fields_are_not_mixed_up() -> None:
    class Pair(BaseModel):
        a: str = ""
        b: str = ""

    assert key_of(Pair(a="x"), "a") != key_of(Pair(b="x"), "b")


def test_a_message_that_is_a_single_value_is_compared_as_a_whole() -> None:
    class Numbers(RootModel[list[int]]): ...

    assert key_of(Numbers([1, 2]), "root") == key_of(Numbers([1, 2]))
    assert key_of(Numbers([1, 2]), "root") != key_of(Numbers([2, 1]), "root")


PROGRAM = """
from tests.unit.test_unique import Line, key_of, order
tags = frozenset(f"tag {number}" for number in range(20))
print(key_of(order(lines=[Line(sku="a", tags=tags)])), list(tags)[:3])
"""


def test_a_set_is_the_same_in_every_process() -> None:
    path = ":".join(sys.path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    outputs = [process.communicate()[0].partition(" ") for process in processes]

    (first, _, first_order), (second, _, second_order) = outputs
    assert first_order != second_order
    assert first == second


def test_a_key_tells_nothing_of_a_message_that_is_encrypted() -> None:
    def sealing(key: str, **options: Any) -> Sealing:
        cipher = AesGcmCipher({"1": AES_KEY})
        return Sealing(signing=SigningKeys({"1": key}), encryption=cipher, **options)

    plain = key_of(order(), "order_id")
    hidden = key_of(order(), "order_id", sealing=sealing(KEY))

    assert key_of(order(), "order_id", sealing=Sealing(signing=SigningKeys({"1": KEY}))) == plain
    assert hidden != plain
    assert hidden == key_of(order(), "order_id", sealing=sealing(KEY))
    assert hidden != key_of(order(), "order_id", sealing=sealing(OTHER_KEY))
    assert len(hidden) == len(plain) == 32


# What the engine is given.


@pytest.mark.parametrize(
    ("unique", "lock"),
    [
        (Unique(), "d:k"),
        (Unique(scope=UniqueScope.WAITING, on_conflict=OnConflict.REPLACE), "w:r"),
        (Unique(scope=timedelta(minutes=1), on_conflict=OnConflict.RAISE), "t60000:x"),
        (Unique(on_conflict=OnConflict.DEBOUNCE), "d:p"),
    ],
)
def test_a_rule_is_passed_on(unique: Unique, lock: str) -> None:
    traits = traits_of(order(), unique=unique, delay=timedelta(seconds=1))

    assert traits == Traits(lock=lock, lock_key=key_of(order()))


def test_the_rule_of_a_publish_stands_in_for_that_of_its_consumer() -> None:
    consumer: Any = type("Once", (Order,), {"QUEUE": "once", "UNIQUE": Unique(("order_id",))})

    by_class = prepare(definition_of(consumer), order()).traits
    by_option = prepare(definition_of(consumer), order(), unique=Unique(("note",))).traits

    assert by_class == Traits(lock="d:k", lock_key=key_of(order(), "order_id"))
    assert by_option == Traits(lock="d:k", lock_key=key_of(order(), "note"))
