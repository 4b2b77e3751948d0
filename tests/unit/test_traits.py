"""What a message asks for besides running in its turn: by its consumer, or by an option."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerDefinitionError,
    InvalidOptionError,
    OnConflict,
    Priority,
    Unique,
)
from redispatcher_fastapi.broker.publishing import publish
from redispatcher_fastapi.broker.types import Traits
from redispatcher_fastapi.clock import ServerClock
from redispatcher_fastapi.consumer import definition_of, prepare
from redispatcher_fastapi.consumer.lock_keys import check_unique

MINUTE = timedelta(minutes=1)
LATER = datetime(2090, 1, 1, tzinfo=UTC)


class Plain(BaseConsumer):
    QUEUE = "plain"

    class Message(BaseConsumer.Message):
        text: str = ""

    async def process_message(self, message: Message) -> None: ...


class Urgent(Plain):
    QUEUE = "urgent"
    PRIORITY = Priority.HIGH
    EXPIRES = MINUTE


def traits_of(consumer: type[Plain], **options: Any) -> Traits | None:
    return prepare(definition_of(consumer), Plain.Message(), **options).traits


class Recorder:
    """Notes what a script is given, and answers that there is a new job."""

    def __init__(self) -> None:
        self.arguments: tuple[Any, ...] = ()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.arguments = args[5:]
        return b"1"


async def values_sent(consumer: type[Plain], **options: Any) -> tuple[Any, ...]:
    recorder = Recorder()
    submission = prepare(definition_of(consumer), Plain.Message(), **options)
    await publish(recorder, ServerClock(), consumer.QUEUE, [submission], max_queue_length=9)
    return recorder.arguments[4:]


@pytest.mark.anyio
async def test_only_a_job_that_asks_for_more_pays_for_it() -> None:
    assert len(await values_sent(Plain)) == 2
    assert len(await values_sent(Plain, priority=Priority.NORMAL)) == 2
    assert len(await values_sent(Plain, delay=MINUTE)) == 4
    assert len(await values_sent(Plain, priority=Priority.LOW)) == 10
    assert len(await values_sent(Plain, expires=MINUTE)) == 10
    assert len(await values_sent(Plain, unique=Unique())) == 10


def test_an_option_wins_over_the_consumer() -> None:
    assert traits_of(Urgent) == Traits(level="high", expiry=MINUTE)
    assert traits_of(Urgent, priority=Priority.LOW, expires=LATER) == Traits("low", expiry=LATER)
    assert traits_of(Urgent, priority=Priority.NORMAL) == Traits(expiry=MINUTE)


def test_a_priority_may_be_its_text() -> None:
    options: dict[str, Any] = {"priority": "high"}

    assert traits_of(Plain, **options) == Traits(level="high")


@pytest.mark.parametrize("priority", ["urgent", "", 1, Unique])
def test_another_priority_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"Plain needs one of Priority\.HIGH, "):
        traits_of(Plain, priority=priority)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"expires": 60}, "a timedelta or an aware datetime as `expires`, not int"),
        ({"expires": timedelta()}, "longer than nothing"),
        ({"expires": -MINUTE}, "longer than nothing"),
        ({"expires": timedelta(days=36_526)}, "up to 100 years"),
        ({"expires": datetime(2090, 1, 1)}, "a naive datetime as `expires`"),
        ({"expires": datetime(2190, 1, 1, tzinfo=UTC)}, "more than 100 years ahead"),
        ({"expires": MINUTE, "delay": MINUTE}, "would never run: .* and expires ends it 0:01:00"),
        ({"expires": LATER, "at": LATER}, "would never run: it starts at .*, and expires at"),
    ],
)
def test_an_expiry_that_cannot_be_meant_is_refused(options: Any, problem: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"The publish to Plain.*{problem}"):
        traits_of(Plain, **options)


def test_a_delay_beyond_the_expiry_of_the_consumer_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidOptionError, match=r"would never run: .*Urgent\.EXPIRES ends it"):
        traits_of(Urgent, delay=2 * MINUTE)

    assert traits_of(Urgent, delay=2 * MINUTE, expires=3 * MINUTE)


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("PRIORITY", "high", r"PRIORITY must be one of Priority\.HIGH, Priority\.NORMAL"),
        ("PRIORITY", None, "PRIORITY must be one of"),
        ("EXPIRES", 60, "EXPIRES must be a positive timedelta"),
        ("EXPIRES", timedelta(), "EXPIRES must be a positive timedelta"),
        ("EXPIRES", timedelta(days=36_526), "EXPIRES must be .* of up to 100 years"),
        ("EXPIRES", LATER, "EXPIRES must be a positive timedelta"),
    ],
)
def test_a_class_with_a_wrong_attribute_is_refused(
    attribute: str, value: Any, problem: str
) -> None:
    with pytest.raises(ConsumerDefinitionError, match=f"Wrong.{problem}"):
        type("Wrong", (BaseConsumer,), {attribute: value})


@pytest.mark.parametrize("on_conflict", OnConflict)
def test_only_a_rule_that_names_the_partition_may_replace_messages(on_conflict: OnConflict) -> None:
    class Message(BaseConsumer.Message):
        tenant: str
        number: int

    def check(*fields: str) -> None:
        unique = Unique(fields=fields or None, on_conflict=on_conflict)
        check_unique(unique, Message, ("tenant",), where="X.UNIQUE", error=ConsumerDefinitionError)

    check("tenant", "number")
    check()
    if on_conflict in (OnConflict.KEEP, OnConflict.RAISE):
        check("number")
        return
    with pytest.raises(ConsumerDefinitionError, match="name 'tenant' among the fields of"):
        check("number")
