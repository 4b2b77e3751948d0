"""The shorter way to decode a message alone finds what the longer one finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from redispatcher_fastapi.message import EnvelopeDecoder, EnvelopeError, encode_envelope


class Order(BaseModel):
    number: int
    note: str = ""


class Numbers(RootModel[list[int]]):
    pass


DECODER = EnvelopeDecoder(Order, dict[str, str])
ROOT_DECODER = EnvelopeDecoder(Numbers, dict[str, str])


def outcome(decoder: EnvelopeDecoder, raw: bytes, *, alone: bool) -> object:
    try:
        return decoder.decode_message(raw) if alone else decoder.decode(raw).message
    except EnvelopeError as error:
        return error.reason, str(error)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"v":1,"body":{"number":1}}',
        b'{"v":1,"body":{"number":1} }',
        b'{"v":1,"headers":{"a":"b"},"body":{"number":1}}',
        b'{"v":1,"body":{"number":1},"headers":{"a":"b"}}',
        b'{"v":1,"body":{"number":1},"body":{"number":2}}',
        b'{"v":1,"body":{"number":1}}}',
        b'{"v":1,"body":{"number":1}]',
        b'{"v":1,"body":{"number":1}',
        b'{"v":1,"body":{"number":"x"}}',
        b'{"v":1,"body":{"number":"x"}',
        b'{"v":2,"body":{"number":1}}',
        b'{"v":1,"body":',
        b'{"v":1,"body":}',
        b"{}",
        b"",
    ],
)
def test_both_ways_agree(raw: bytes) -> None:
    assert outcome(DECODER, raw, alone=True) == outcome(DECODER, raw, alone=False)


@given(st.binary(max_size=40), st.sampled_from([b"", b"}", b"]", b'{"number":1}}', b"[1]}"]))
def test_both_ways_agree_on_what_somebody_wrote_by_hand(middle: bytes, end: bytes) -> None:
    for decoder in (DECODER, ROOT_DECODER):
        raw = b'{"v":1,"body":' + middle + end

        assert outcome(decoder, raw, alone=True) == outcome(decoder, raw, alone=False)


@given(st.integers(), st.text())
def test_what_was_encoded_is_decoded(number: int, note: str) -> None:
    message = Order(number=number, note=note)

    raw = encode_envelope(message.model_dump_json().encode())

    assert DECODER.decode_message(raw) == message
