"""Whatever lies in Redis as a message is refused in bounded time, before or while it is parsed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, FiniteFloat

from redispatcher_fastapi import (
    BaseConsumer,
    JobFailedError,
    MessageEncodingError,
    MessageTooLargeError,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.broker.records import parse_record
from redispatcher_fastapi.broker.types import Delivery, Died, Succeeded
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.execution import Execution
from redispatcher_fastapi.message import EnvelopeDecoder, EnvelopeError
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import redis_command

LIMIT = 1000
SECRET = "4111-SECRET"


class Anything(BaseConsumer):
    QUEUE = "anything"

    class Message(BaseConsumer.Message):
        value: Any = None
        number: int = 0
        text: str = ""
        ratio: float = 0.0
        finite: FiniteFloat = 0.0

    async def process_message(self, message: Message) -> None: ...


def watch_parsing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the size of all that is parsed."""
    sizes: list[int] = []
    for name in ("decode", "decode_message"):
        original = getattr(EnvelopeDecoder, name)

        def watched(self: EnvelopeDecoder, raw: bytes, original: Any = original) -> Any:
            sizes.append(len(raw))
            return original(self, raw)

        monkeypatch.setattr(EnvelopeDecoder, name, watched)
    return sizes


def make_delivery(envelope: bytes) -> Delivery:
    return Delivery("anything", "a", "holder", 1, "1,1", envelope, 1)


async def run(envelope: bytes) -> Any:
    definition = definition_of(Anything)
    execution = Execution(definition, max_message_bytes=LIMIT, max_result_bytes=LIMIT)
    return await execution.run(make_delivery(envelope))


async def test_a_message_over_the_limit_is_dead_and_was_never_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = watch_parsing(monkeypatch)

    outcome = await run(b'{"v":1,"body":{"text":"%b"}}' % (b"x" * LIMIT))

    assert isinstance(outcome, Died)
    assert outcome.reason == "message_too_large"
    assert outcome.error is not None
    assert "1026 bytes, more than the limit of 1000" in outcome.error.text
    assert sizes == []


async def test_a_message_of_just_the_limit_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = watch_parsing(monkeypatch)
    envelope = b'{"v":1,"body":{"text":""}}'
    envelope = envelope.replace(b'""', b'"%b"' % (b"x" * (LIMIT - len(envelope))))

    outcome = await run(envelope)

    assert isinstance(outcome, Succeeded)
    assert sizes[0] == LIMIT == len(envelope)


async def test_what_a_stranger_stored_over_the_limit_is_kept_for_an_operator(
    redis_dsn: str,
) -> None:
    stored = b'1767268800000{"v":1,"body":{"text":"%b"}}' % (b"x" * 5000)
    redis_command(redis_dsn, "HSET", "rd:{anything}:jobs", "big", stored)
    redis_command(redis_dsn, "LPUSH", "rd:{anything}:ready", "big")

    async with running_pool(redis_dsn, Anything, max_message_bytes=LIMIT) as pool:
        job = pool.publisher(Anything).job("big")
        with pytest.raises(JobFailedError) as failed:
            await job.result(PATIENCE)
        record = await job.info()

        assert failed.value.reason == "message_too_large"
        assert record is not None
        assert record.body == b'{"text":"%b"}' % (b"x" * 5000)
        with pytest.raises(MessageTooLargeError):
            await pool.publisher(Anything).publish(Anything.Message(text="x" * LIMIT))


def hostile_values() -> Iterator[tuple[str, bytes, bool]]:
    """Yield a name, a body's field, and whether it is to be refused."""
    yield "deep list", b'"value":' + b"[" * 300 + b"]" * 300, True
    yield "deep object", b'"value":' + b'{"a":' * 300 + b"1" + b"}" * 300, True
    yield "unclosed", b'"value":' + b"[" * 900, True
    yield "huge integer", b'"number":' + b"9" * 900, False
    yield "huge exponent", b'"number":1e400', True
    yield "not finite, for a float that may be so", b'"ratio":1e999', False
    yield "not finite, for a float that must be finite", b'"finite":1e999', True
    yield "not a number, where it must be one", b'"finite":NaN', True
    yield "NaN as an integer", b'"number":NaN', True
    yield "lone surrogate", rb'"text":"\ud800"', True
    yield "lone surrogate as bytes", b'"text":"\xed\xa0\x80"', True
    yield "overlong", b'"text":"\xc0\xaf"', True
    yield "bad utf-8", b'"text":"\xff"', True
    yield "control character", b'"text":"\x01"', True
    yield "prototype", b'"__proto__":{"a":1},"__class__":"os.system"', False


@pytest.mark.parametrize(
    ("field", "is_refused"),
    [pytest.param(field, refused, id=name) for name, field, refused in hostile_values()],
)
def test_hostile_json_is_refused_or_harmless(field: bytes, is_refused: bool) -> None:
    decoder = definition_of(Anything).decoder
    raw = b'{"v":1,"body":{%b}}' % field

    for decode in (decoder.decode, decoder.decode_message):
        if is_refused:
            with pytest.raises(EnvelopeError) as refused:
                decode(raw)
            assert len(str(refused.value)) < 5000
        else:
            assert decode(raw)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_other_encodings_are_not_guessed(encoding: str) -> None:
    raw = '{"v":1,"body":{"text":"a"}}'.encode(encoding)

    with pytest.raises(EnvelopeError):
        definition_of(Anything).decoder.decode(raw)


@pytest.mark.parametrize(
    "envelope",
    [
        b'{"v":1.5,"body":{}}',
        b'{"v":true,"body":{}}',
        b'{"v":1.0,"body":{}}',
        b'{"v":"1","body":{}}',
        b'{"v":1e400,"body":{}}',
        b'{"v":NaN,"body":{}}',
        b'{"v":2,"body":{}}',
        b'{"v":%b,"body":{}}' % (b"1" * 5000),
        b'{"body":{}}',
    ],
)
def test_the_version_is_the_integer_one(envelope: bytes) -> None:
    with pytest.raises(EnvelopeError):
        definition_of(Anything).decoder.decode(envelope)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_a_number_that_is_not_finite_is_not_published(number: float) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://"))
    async with dispatcher.lifespan():
        with pytest.raises(MessageEncodingError):
            await dispatcher.publisher(Anything).publish(Anything.Message(ratio=number))


async def test_a_lone_surrogate_is_not_published() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://"))
    async with dispatcher.lifespan():
        with pytest.raises(MessageEncodingError):
            await dispatcher.publisher(Anything).publish(Anything.Message(text="\ud800"))


ENVELOPES = [
    b'{"v":1,"headers":{"a":"\xed\xa0\x80"},"body":{"text":"x"}}',
    b'{"v":1,"headers":{"a":"\xff"},"body":{"text":"x"}}',
    b'{"v":1,"headers":{"a":1e999},"body":{"text":NaN}}',
    b'{"v":1,"body":' + b"[" * 200_000,
    b'{"v":1,"body":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"v":1,"headers":{},"body":' + b"9" * 10_000 + b"}",
    b'{"v":1,"headers":{},"body":',
    b'{"v":1,"headers":{"a":1},"headers":{"b":1},"body":1}',
    '{"v":1,"body":{}}'.encode("utf-16"),
    b'{"v":1,"kid":"a","sig":"%b",' % (b"A" * 43),
    b"\x00" * 100,
    b"",
]


@pytest.mark.parametrize("state", [b"queued", b"dead"])
@pytest.mark.parametrize("envelope", ENVELOPES, ids=range(len(ENVELOPES)))
def test_an_inspector_shows_any_record_and_never_fails(envelope: bytes, state: bytes) -> None:
    stored = b"1767268800000" + envelope
    if state == b"dead":
        stored = b"D1767268800000,1,1,1,0,undecodable\n" + stored
    rest = [b"urgent", envelope, b"", b"", b""]  # its level, its partition, and three it has not

    record = parse_record("anything", "a", [state, stored, b"", b"", b"", [], *rest])

    assert record.body is None or record.body in envelope


async def test_a_stored_history_of_a_stranger_does_not_reach_into_python(redis_dsn: str) -> None:
    """A record names no class: what stands in the place of an error is text, whatever it says."""
    stored = b'1,2,{"outcome":"failed","error":"os.system(\'x\')","traceback":"x","__class__":"os"}'
    redis_command(redis_dsn, "HSET", "rd:{anything}:jobs", "a", b'1767268800000{"v":1,"body":{}}')
    redis_command(redis_dsn, "LPUSH", "rd:{anything}:ready", "a")
    redis_command(redis_dsn, "RPUSH", "rd:{anything}:history:a", stored)
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn))
    async with dispatcher.lifespan():
        record = await dispatcher.inspector.job("anything", "a")

    assert record is not None
    assert record.error == "os.system('x')"


class Nested(BaseModel):
    inner: dict[str, Any]


def test_json_that_is_too_deep_names_no_value() -> None:
    decoder = EnvelopeDecoder(Nested, dict[str, Any])
    raw = json.dumps({"v": 1, "body": {"inner": SECRET}}).encode()

    with pytest.raises(EnvelopeError) as refused:
        decoder.decode(raw)

    assert SECRET not in str(refused.value)
