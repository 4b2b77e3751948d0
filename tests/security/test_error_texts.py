"""What is kept, raised and logged of a failure is bounded and repeats nothing of a payload."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    EmailStr,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from redispatcher_fastapi import (
    BaseConsumer,
    Fixed,
    Job,
    JobFailedError,
    JobRecord,
    MessageEncodingError,
    RetryPolicy,
)
from redispatcher_fastapi.broker.types import Delivery, Outcome, Released
from redispatcher_fastapi.describing import describe_error
from redispatcher_fastapi.execution import Execution
from redispatcher_fastapi.hooks import GuardedHooks, PoolHooks
from redispatcher_fastapi.message import EnvelopeDecoder, EnvelopeError
from tests.cli.programs import ROOT, Program
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import redis_command

SECRET = "4111-SECRET"


class Colour(StrEnum):
    RED = "red"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Many(BaseModel):
    """A field for each way in which pydantic words a refusal."""

    number: int = 0
    floating: float = 0.0
    yes: bool = True
    decimal: Decimal = Decimal(0)
    when: AwareDatetime | None = None
    lasting: timedelta = timedelta()
    identity: UUID | None = None
    url: AnyUrl | None = None
    email: EmailStr | None = None
    colour: Colour = Colour.RED
    literal: Literal["a", "b"] = "a"
    pattern: Annotated[str, Field(pattern="^[a-z]$")] = "a"
    short: Annotated[str, Field(max_length=3)] = "a"
    animal: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat(kind="cat")
    items: list[int] = Field(default_factory=list[int])
    by_name: dict[str, int] = Field(default_factory=dict[str, int])
    hidden: SecretStr = SecretStr("")


DECODER = EnvelopeDecoder(Many, dict[str, Any])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, f'"{SECRET}"') for name in Many.model_fields if name != "hidden"),
        ("animal", f'{{"kind":"{SECRET}"}}'),
        ("items", f'["{SECRET}"]'),
        ("by_name", f'{{"a":"{SECRET}"}}'),
        ("hidden", f'["{SECRET}"]'),
        ("email", f'"a@{SECRET}.de SECRET"'),
        ("url", f'"http://{SECRET}:SECRET/"'),
    ],
)
def test_a_refused_message_is_described_without_its_values(field: str, value: str) -> None:
    with pytest.raises(EnvelopeError) as refused:
        DECODER.decode(b'{"v":1,"body":{"%b":%b}}' % (field.encode(), value.encode()))

    text = str(refused.value)
    assert "SECRET" not in text
    assert field in text
    assert len(text) < 5000


def test_a_key_of_a_payload_is_cut_and_cannot_break_the_line() -> None:
    key = "k" * 10_000 + r"\n\u001b[2J"

    with pytest.raises(EnvelopeError) as refused:
        DECODER.decode(b'{"v":1,"body":{"by_name":{"%b":"x"}}}' % key.encode())

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_a_thousand_problems_are_counted_and_twenty_are_told() -> None:
    numbers = b",".join([b'"x"'] * 1000)

    with pytest.raises(EnvelopeError) as refused:
        DECODER.decode(b'{"v":1,"body":{"items":[%b]}}' % numbers)

    assert str(refused.value).startswith("1000 problem(s)")
    assert str(refused.value).count("body.items") == 20


class Failing(BaseConsumer):
    QUEUE = "failing"
    RETRY = RetryPolicy(max_attempts=1)

    class Message(BaseConsumer.Message):
        card: str
        how: str

    async def process_message(self, message: Message) -> Any:
        card = message.card
        match message.how:
            case "validate":
                Many.model_validate({"number": card})
            case "chain":
                try:
                    Many.model_validate({"number": card})
                except ValidationError as error:
                    raise RuntimeError("wrapped") from error
            case "context":
                try:
                    Many.model_validate({"number": card})
                finally:
                    raise RuntimeError("on the way")  # what users do
            case "group":
                errors: list[Exception] = []
                try:
                    Many.model_validate({"number": card})
                except ValidationError as error:
                    errors.append(error)
                raise ExceptionGroup("some", errors)
            case "long":
                raise ValueError("x" * 1_000_000)
            case "recursive":
                return recurse(card)
            case "result":
                return object()
            case _:
                pass
        return None


def recurse(card: str) -> Any:
    return recurse(card)


class Checked(BaseConsumer):
    QUEUE = "checked"

    class Message(BaseConsumer.Message):
        card: str

        @field_validator("card")
        @classmethod
        def _raise_something_else(cls, card: str) -> str:
            Many.model_validate({"number": card}) if card == SECRET else None
            return card

    async def process_message(self, message: Message) -> None: ...


async def die(job: Job[Any], caplog: pytest.LogCaptureFixture) -> tuple[JobRecord, str]:
    with caplog.at_level(logging.DEBUG, "redispatcher"), pytest.raises(JobFailedError) as failed:
        await job.result(PATIENCE)
    record = await job.info()
    assert record is not None
    attempts = "".join(f"{attempt.error}{attempt.traceback}" for attempt in record.history)
    return record, f"{failed.value}{failed.value.error}{record.error}{attempts}{caplog.text}"


@pytest.mark.parametrize("how", ["validate", "chain", "context", "group"])
async def test_a_handler_that_validates_leaks_nothing_by_its_error(
    redis_dsn: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pool(redis_dsn, Failing) as pool:
        job = await pool.publish(Failing.Message(card=SECRET, how=how))
        record, told = await die(job, caplog)

    assert record.history[0].traceback is not None
    assert "number" in record.history[0].traceback
    assert SECRET not in told


@pytest.mark.parametrize("how", ["long", "recursive", "result"])
async def test_what_is_kept_of_an_error_is_bounded(
    redis_dsn: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pool(redis_dsn, Failing) as pool:
        job = await pool.publish(Failing.Message(card=SECRET, how=how))
        record, _ = await die(job, caplog)
        stored = redis_command(redis_dsn, "LRANGE", f"rd:{{failing}}:history:{job.id}", 0, -1)

    assert record.error is not None
    assert len(record.error) <= 2048
    assert sum(map(len, stored)) < 64 * 1024


async def test_a_validator_that_validates_leaks_nothing_by_its_error(
    redis_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored = b'1767268800000{"v":1,"body":{"card":"4111-SECRET"}}'
    redis_command(redis_dsn, "HSET", "rd:{checked}:jobs", "a", stored)
    redis_command(redis_dsn, "LPUSH", "rd:{checked}:ready", "a")
    async with running_pool(redis_dsn, Checked) as pool:
        record, told = await die(pool.publisher(Checked).job("a"), caplog)

    assert record.reason == "invalid_message"
    assert SECRET not in told


async def test_a_forged_result_is_not_repeated(redis_dsn: str) -> None:
    class Number(BaseConsumer):
        QUEUE = "number"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> int:
            return 1

    async with running_pool(redis_dsn, Number) as pool:
        job = await pool.publisher(Number).publish(Number.Message())
        await job.result(PATIENCE)
        redis_command(redis_dsn, "SET", f"rd:{{number}}:result:{job.id}", f'"{SECRET}"', "PX", 9999)
        with pytest.raises(ValueError, match="stored result") as refused:
            await job.result(PATIENCE)

    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_secret_field_is_not_published_as_asterisks_nor_shown(redis_dsn: str) -> None:
    class Login(BaseConsumer):
        QUEUE = "login"

        class Message(BaseConsumer.Message):
            password: SecretStr

        async def process_message(self, message: Message) -> None: ...

    async with running_pool(redis_dsn, Login) as pool:
        with pytest.raises(MessageEncodingError) as refused:
            await pool.publisher(Login).publish(Login.Message(password=SecretStr(SECRET)))

    assert SECRET not in str(refused.value)
    assert "password" in str(refused.value)


def test_the_frames_of_a_traceback_are_bounded_and_hold_no_local_variable() -> None:
    card = SECRET
    with pytest.raises(RecursionError) as raised:
        recurse(card)

    described = describe_error(raised.value)

    assert described.traceback is not None
    assert described.traceback.count("in recurse") <= 40
    assert SECRET not in described.traceback


def validate(card: str) -> Any:
    return Many.model_validate({"number": card})


def raise_from_hook(*_: object) -> Any:
    return validate(SECRET)


class Surprised(BaseConsumer):
    """Its own policy fails while it looks at the error of its handler."""

    QUEUE = "surprised"
    RETRY = RetryPolicy(
        max_attempts=2, backoff=Fixed(timedelta(milliseconds=1)), delay_for=raise_from_hook
    )

    class Message(BaseConsumer.Message):
        card: str

    async def process_message(self, message: Message) -> None:
        validate(message.card)


async def test_a_policy_that_fails_leaks_neither_its_error_nor_that_of_the_handler(
    redis_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_pool(redis_dsn, Surprised) as pool:
        job = await pool.publish(Surprised.Message(card=SECRET))
        _, told = await die(job, caplog)

    assert "RetryPolicy.delay_for failed with ValidationError" in told
    assert "raise_from_hook" in told
    assert SECRET not in told


class Broken(PoolHooks):
    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        raise_from_hook()


def test_a_hook_that_fails_leaks_nothing_by_its_error(caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery("failing", "a", "holder", 1, "1,1", b"", 1)

    GuardedHooks(Broken()).job_ended(delivery, "Failing", Released(), 0.1)

    assert "A hook of the pool failed." in caplog.text
    assert "raise_from_hook" in caplog.text
    assert SECRET not in caplog.text


async def test_a_pool_that_fails_by_itself_leaks_nothing_by_its_error(
    redis_dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Execution, "run", raise_from_hook)
    async with running_pool(redis_dsn, Failing) as pool:
        job = await pool.publish(Failing.Message(card=SECRET, how=""))
        _, told = await die(job, caplog)

    assert "went wrong in the pool itself" in told
    assert SECRET not in told


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_application_that_cannot_be_imported_leaks_no_setting(
    tmp_path: Path, log_format: str
) -> None:
    (tmp_path / "secretive.py").write_text(
        "import os\nfrom pydantic import BaseModel\n"
        "class Settings(BaseModel):\n    port: int\n"
        "app = Settings(port=os.environ['SECRETIVE_PORT'])\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "SECRETIVE_PORT": f"{SECRET}\n\x1b[2J"}
    arguments = ("pool", "secretive:app", "--log-format", log_format)
    with Program(tmp_path, *arguments, environment=environment) as program:
        assert program.wait() == 2

    assert "ValidationError: 1 problem(s): port" in program.log
    assert SECRET not in program.log + program.output
