"""Envelopes: whatever Redis holds is a message, or an `EnvelopeError` with a reason."""

from __future__ import annotations

import time
import tracemalloc
from random import Random

from pydantic import BaseModel

from redispatcher_fastapi.message import EnvelopeDecoder, EnvelopeError
from tests.fuzz import nonsense

_FORMS = (
    b'{"v":1,"body":%b}',
    b'{"v":1,"headers":{"a":"b"},"body":%b}',
    b'{"v":1,"body":%b,"body":{"number":1}}',
    b'{"v":2,"body":%b}',
    b'{"v":"1","body":%b}',
    b'{"v":1.0,"body":%b,"more":0}',
    b'{"v":1,"headers":%b,"body":{"number":1}}',
    b"%b",
)
_PIECES = (
    b"NaN", b"Infinity", b"1e999", b"-", b'"\\ud800"', b'"\\udfff\\ud800"', b"\xff", b"\x00",
    b'"v":1,', b'"v":2,', b'"body":', b'"headers":{},', b"9" * 5000, b"[" * 300, b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"null", b"//", b"'", b'\\u0000',
)  # fmt: skip
#: In bytes.
_LARGEST = 262_144
_SECONDS_FOR_LARGEST = 0.05
#: For what is no message, in multiples of its size.
_MOST_MEMORY = 4


class Order(BaseModel):
    number: int
    note: str = ""
    lines: list[dict[str, float]] = []


_DECODER = EnvelopeDecoder(Order, dict[str, str])


def make(random: Random) -> bytes:
    """Return an envelope that was changed a little, or hardly looks like one."""
    if random.random() < 0.1:
        return nonsense.random_bytes(random, 200)
    body = b'{"number":1,"note":"hello","lines":[{"a":1.5}]}'
    match random.randrange(4):
        case 0:
            body = nonsense.json_bytes(random)
        case 1:
            body = nonsense.deep_json(random) if random.random() < 0.05 else body
        case 2:
            body = nonsense.mutate(random, body, _PIECES)
        case _:
            pass
    whole = random.choice(_FORMS) % body
    return nonsense.mutate(random, whole, _PIECES) if random.random() < 0.6 else whole


def check(raw: bytes) -> None:
    """Decode in both ways: they agree, and say no more than they may."""
    outcomes = [_decode(raw, is_alone=is_alone) for is_alone in (False, True)]
    assert outcomes[0] == outcomes[1], outcomes


def make_large(random: Random) -> bytes:
    """Return a quarter of a mebibyte of what is hard to read."""
    unit = random.choice(
        [b"[", b"[],", b"1,", b'{"a":', b'"\\u0041",', b"9", b'{"a":1.5},', b'"a",', b" ", b'\\"']
    )
    form = random.choice(
        [
            b'{"v":1,"body":%b}',
            b'{"v":1,"body":{"number":%b}}',
            b'{"v":1,"body":{"number":1,"note":"%b"}}',
            b'{"v":1,"body":{"number":1,"lines":[%b{}]}}',
            b'{"v":1,"headers":{"a":"%b"},"body":{"number":1}}',
        ]
    )
    return (form % (unit * (_LARGEST // len(unit))))[:_LARGEST]


def check_large(raw: bytes) -> None:
    """Decode in bounded time of the processor; of three tries, the least disturbed counts."""
    durations: list[float] = []
    for _ in range(3):
        begin = time.thread_time()
        _decode(raw, is_alone=False)
        durations.append(time.thread_time() - begin)
        if durations[-1] < _SECONDS_FOR_LARGEST:
            return
    raise AssertionError(f"{min(durations):.3f} s for {raw[:40]!r}...")


def check_memory(raw: bytes) -> None:
    """Decode what fails with bounded memory, as far as Python knows of it."""
    tracemalloc.start()
    try:
        outcome = _decode(raw, is_alone=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    is_message = outcome[0] == "message"
    most = 100 * len(raw) if is_message else _MOST_MEMORY * len(raw) + 65_536
    assert peak <= most, f"{peak} bytes for {len(raw)} of {raw[:40]!r}..."


def _decode(raw: bytes, *, is_alone: bool) -> tuple[str, str]:
    try:
        message = _DECODER.decode_message(raw) if is_alone else _DECODER.decode(raw).message
    except EnvelopeError as error:
        reason, text = error.reason, str(error)
    else:
        assert isinstance(message, Order)
        return "message", repr(message)
    assert reason in {"undecodable", "unknown_version", "invalid_message"}
    assert len(text) <= 4096
    return reason, text
