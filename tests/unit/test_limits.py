"""What limits are refused, before anything runs, and what the others mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import create_model

from redispatcher_fastapi import (
    AesGcmCipher,
    BaseConsumer,
    Concurrency,
    ConfigurationError,
    ConsumerConfig,
    ConsumerDefinitionError,
    Fair,
    InvalidOptionError,
    Ordered,
    Priority,
    RateLimit,
    RateLimited,
    Sealing,
)
from redispatcher_fastapi.consumer import definition_of, prepare
from redispatcher_fastapi.limits import Limit, parse_rules

SECOND = timedelta(seconds=1)


class Colour(Enum):
    RED = "red"


def define(limits: Any, **fields: Any) -> type[BaseConsumer]:
    """Return a consumer with these limits, whose Message has a tenant and these fields."""
    message = create_model("Message", __base__=BaseConsumer.Message, tenant=(str, "t"), **fields)

    class Work(BaseConsumer):
        QUEUE = "work"
        LIMITS = limits
        Message = message

        async def process_message(self, message: Any) -> None: ...

    return Work


def partition_of(consumer: type[BaseConsumer], **values: Any) -> str:
    definition = definition_of(consumer)
    return definition.partition_of(definition.message_type(**values), None)


def test_limits_are_read_into_what_the_scripts_take() -> None:
    limits: list[Limit] = [
        RateLimit(100, per=60 * SECOND),
        RateLimit(10, per=SECOND),
        Concurrency(9),
        Concurrency(2, key="tenant"),
        RateLimit(5, per=SECOND, key="tenant"),
        Fair(key="tenant"),
    ]

    rules = definition_of(define(limits)).limits

    assert (rules.text, rules.fields) == ("c9;k2;r10/1000,100/60000;s5/1000", ("tenant",))
    assert parse_rules(rules.text) == (
        Concurrency(9),
        Concurrency(2, key="*"),
        RateLimit(10, per=SECOND),
        RateLimit(100, per=60 * SECOND),
        RateLimit(5, per=SECOND, key="*"),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Concurrency(0),
        lambda: Concurrency(True),
        lambda: RateLimit(-1, per=SECOND),
        lambda: RateLimit(1, per=timedelta(microseconds=999)),
        lambda: Ordered(key=()),
        lambda: Fair(key=("a", "a")),
        lambda: Concurrency(1, key=""),
    ],
)
def test_a_limit_that_could_never_hold_is_refused(make: Callable[[], Limit]) -> None:
    with pytest.raises(ConfigurationError, match=r"(Concurrency|RateLimit|Ordered|Fair)\."):
        make()


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Concurrency(1), "must be a list of limits"),
        ([Fair], "which is no limit"),
        ([Concurrency(1), Concurrency(2)], "two Concurrency"),
        ([Ordered(key="tenant"), Concurrency(2, key="tenant")], "leave the Concurrency out"),
        ([Fair(key="tenant"), Ordered(key=("tenant", "x"))], "need the same one"),
        ([RateLimit(5, per=SECOND), RateLimit(5, per=2 * SECOND)], "of which one does nothing"),
        ([Fair(key="tenent")], "did you mean 'tenant'"),
        ([Fair(key="*")], "only for Inspector.set_limits"),
    ],
)
def test_limits_that_do_not_fit_are_refused_when_the_class_is_created(
    limits: Any, problem: str
) -> None:
    with pytest.raises(ConsumerDefinitionError, match=rf"Work\.LIMITS.*{problem}"):
        define(limits)


@pytest.mark.parametrize("kind", [float, list[str], dict[str, int], bytes, Any, float | None])
def test_a_key_without_a_stable_text_is_refused(kind: Any) -> None:
    with pytest.raises(ConsumerDefinitionError, match="no text that is always the same"):
        define([Fair(key="x")], x=(kind, ...))


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (str, "acme", "acme"),
        (str, "ann@example.com", "ann@example.com"),
        (int, 7, "7"),
        (bool, True, "true"),
        (UUID, UUID(int=3), "00000000-0000-0000-0000-000000000003"),
        (Colour, Colour.RED, "red"),
        (date, date(2026, 1, 2), "2026-01-02"),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_a_plain_value_is_the_text_of_its_partition(kind: Any, value: Any, text: str) -> None:
    assert partition_of(define([Fair(key="x")], x=(kind, ...)), x=value) == text


def test_other_values_are_hashed_and_still_told_apart() -> None:
    consumer = define([Fair(key="x")], x=(str | None, ...))
    texts = {partition_of(consumer, x=value) for value in ["", " ", "a" * 97, "né", None, "null"]}

    assert len(texts) == 6
    assert {len(text) for text in texts} == {32, 4}
    both = define([Fair(key=("tenant", "x"))], x=(str, ...))
    assert partition_of(both, tenant="a", x="b") == "a:b"
    assert partition_of(both, tenant="a:b", x="c") != partition_of(both, tenant="a", x="b:c")


def test_the_partition_of_an_encrypted_message_tells_nothing() -> None:
    definition = definition_of(define([Fair(key="tenant")]))
    sealing = Sealing(encryption=AesGcmCipher({"k": "q" * 43}))
    message = definition.message_type(tenant="acme")

    submission = prepare(definition, message, sealing=sealing)

    assert submission.traits is not None
    assert len(submission.traits.partition) == 32


def test_a_message_without_limits_asks_for_nothing() -> None:
    definition = definition_of(define([Concurrency(5), RateLimit(5, per=SECOND)]))

    assert prepare(definition, definition.message_type()).traits is None


def test_another_priority_is_refused_where_there_is_an_order() -> None:
    definition = definition_of(define([Ordered(key="tenant")]))
    message = definition.message_type()

    assert prepare(definition, message, priority=Priority.NORMAL).traits is not None
    with pytest.raises(InvalidOptionError, match="whose jobs are Ordered"):
        prepare(definition, message, priority=Priority.HIGH)


def test_a_configuration_has_limits_of_its_own() -> None:
    consumer = define([Concurrency(5), Fair(key="tenant")])

    def rules(limits: Sequence[Limit] | None) -> str:
        return ConsumerConfig(consumer_class=consumer, limits=limits).rules.text

    assert rules(None) == "c5"
    assert rules([]) == ""
    assert rules([Concurrency(2, key="tenant")]) == "k2"


@pytest.mark.parametrize(
    ("own", "limits", "problem"),
    [
        ([], [Fair(key="tenant")], "have no key"),
        ([Fair(key="tenant")], [Concurrency(1, key="other")], "have the key"),
        ([Fair(key="tenant")], [Ordered(key="tenant")], "Declare it there"),
        ([], [Concurrency(1), Concurrency(2)], "two Concurrency"),
    ],
)
def test_what_only_the_class_can_have_is_refused_in_a_configuration(
    own: list[Limit], limits: list[Limit], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"limits: the limits of .*Work.*{problem}"):
        ConsumerConfig(consumer_class=define(own), limits=limits)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (timedelta(minutes=2), 120),
        (1.5, 1.5),
        ("120", 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.1),
        ("soon", 30),
        (None, 30),
        (0, 0.1),
        (datetime(2020, 1, 1, tzinfo=UTC), 0.1),
    ],
)
def test_a_time_to_wait_is_read_in_each_of_its_forms(value: Any, seconds: float) -> None:
    assert RateLimited(value).delay == timedelta(seconds=seconds)


WRONG: MappingProxyType[Any, type[Exception]] = MappingProxyType(
    {
        timedelta(seconds=-1): ValueError,
        datetime(2026, 1, 1): ValueError,  # naive, which is the mistake
        (1,): TypeError,
    }
)


@pytest.mark.parametrize(("value", "error"), WRONG.items())
def test_a_time_to_wait_that_means_nothing_is_an_error(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        RateLimited(value)
    with pytest.raises(ValueError, match="scope"):
        RateLimited(1, scope="all")  # type: ignore[arg-type]  # the mistake
