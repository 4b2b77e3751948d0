"""A signature holds for one message or result, of one job, in one queue, by one of the keys."""

from __future__ import annotations

import hmac
import json
import struct
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from redispatcher_fastapi import (
    AesGcmCipher,
    ConfigurationError,
    SealError,
    Sealing,
    SigningKeys,
)
from tests.security.keys import FOREIGN_KEY, KEY, OLD_KEY, signed

ENVELOPE = b'{"v":1,"body":{"number":1}}'
PLACE = {"queue": "orders", "job_id": "a"}


def reason_for(sealing: Sealing, message: bytes, **place: str) -> str:
    with pytest.raises(SealError) as refused:
        sealing.open_message(message, **{**PLACE, **place})
    return refused.value.reason


def test_a_signed_envelope_is_json_with_all_that_the_unsigned_one_has() -> None:
    message = signed().seal_message(ENVELOPE, **PLACE)

    fields = json.loads(message)
    assert list(fields) == ["v", "kid", "sig", "body"]
    assert fields["kid"] == "new"
    assert fields["body"] == {"number": 1}
    assert message.endswith(b'","body":{"number":1}}')


def test_a_signature_is_what_the_reference_says() -> None:
    def part(text: bytes) -> bytes:
        return struct.pack(">I", len(text)) + text

    context = b"".join(map(part, (b"redispatcher_fastapi 1", b"message", b"orders", b"a")))
    covered = part(context) + part(b"new") + b'"body":{"number":1}}'
    expected = urlsafe_b64encode(hmac.digest(KEY.encode(), covered, "sha256")).rstrip(b"=")

    message = signed().seal_message(ENVELOPE, **PLACE)

    assert json.loads(message)["sig"] == expected.decode()


def test_what_was_signed_is_opened_byte_by_byte() -> None:
    assert signed().open_message(signed().seal_message(ENVELOPE, **PLACE), **PLACE) == ENVELOPE


@pytest.mark.parametrize("place", [{"queue": "refunds"}, {"job_id": "b"}])
def test_a_message_copied_to_another_queue_or_id_is_refused(place: dict[str, str]) -> None:
    message = signed().seal_message(ENVELOPE, **PLACE)

    assert reason_for(signed(), message, **place) == "bad_signature"


def test_names_cannot_be_shifted_between_the_queue_and_the_id() -> None:
    message = signed().seal_message(ENVELOPE, queue="ab", job_id="c")

    assert reason_for(signed(), message, queue="a", job_id="bc") == "bad_signature"


def test_a_message_is_no_result_and_a_result_is_no_message() -> None:
    message = signed().seal_message(ENVELOPE, **PLACE)
    result = signed().seal_result(b"1", **PLACE)

    assert result is not None
    assert reason_for(signed(), result) == "bad_signature"
    with pytest.raises(SealError):
        signed().open_result(message, **PLACE)


@given(st.data())
def test_no_single_byte_can_be_changed(data: st.DataObject) -> None:
    message = bytearray(signed().seal_message(ENVELOPE, **PLACE))
    index = data.draw(st.integers(0, len(message) - 1))
    message[index] ^= data.draw(st.integers(1, 255))

    assert reason_for(signed(), bytes(message)) == "bad_signature"


@given(st.binary(max_size=200))
def test_bytes_of_anybody_are_refused_as_unsigned(message: bytes) -> None:
    assert reason_for(signed(), message) == "bad_signature"


@pytest.mark.parametrize(
    "forged",
    [
        ENVELOPE,
        b'{"v":1,"kid":"new","sig":"","body":{"number":1}}',
        b'{"v":1,"kid":"new","sig":"%b","body":{"number":1}}' % (b"A" * 43),
        b'{"v":1,"sig":"%b","kid":"new","body":{"number":1}}' % (b"A" * 43),
        b'{"v":1,"kid":"%b","sig":"%b","body":{}}' % (b"k" * 65, b"A" * 43),
        b'{"v":1,"kid":"new","sig":null,"body":{"number":1}}',
        b'{"v":1,"kid":"none","sig":"%b","body":{}}' % (b"A" * 43),
    ],
)
def test_what_has_no_valid_signature_is_refused(forged: bytes) -> None:
    assert reason_for(signed(), forged) == "bad_signature"


def test_the_first_key_signs_and_every_key_verifies() -> None:
    old = Sealing(signing=SigningKeys({"old": OLD_KEY}))
    message = old.seal_message(ENVELOPE, **PLACE)

    assert signed().open_message(message, **PLACE) == ENVELOPE
    assert b'"kid":"new"' in signed().seal_message(ENVELOPE, **PLACE)


def test_a_key_that_was_removed_verifies_nothing_and_is_named() -> None:
    message = signed().seal_message(ENVELOPE, **PLACE)
    later = Sealing(signing=SigningKeys({"newest": FOREIGN_KEY}))

    with pytest.raises(SealError, match=r"the key 'new', which is not one of .*: newest"):
        later.open_message(message, **PLACE)


def test_the_same_key_under_another_id_does_not_verify() -> None:
    message = signed().seal_message(ENVELOPE, **PLACE)
    renamed = message.replace(b'"kid":"new"', b'"kid":"two"')
    twice = Sealing(signing=SigningKeys({"new": KEY, "two": KEY}))

    assert reason_for(twice, renamed) == "bad_signature"


def test_unsigned_messages_pass_only_while_that_is_asked_for() -> None:
    moving = Sealing(signing=SigningKeys({"new": KEY}), accept_unsigned=True)

    assert moving.open_message(ENVELOPE, **PLACE) == ENVELOPE
    assert moving.open_result(b"1", **PLACE) == b"1"
    assert moving.open_result(None, **PLACE) is None
    assert reason_for(signed(), ENVELOPE) == "bad_signature"


def test_a_wrong_signature_is_refused_even_while_unsigned_messages_pass() -> None:
    moving = Sealing(signing=SigningKeys({"new": KEY}), accept_unsigned=True)
    foreign = Sealing(signing=SigningKeys({"new": FOREIGN_KEY}))

    assert reason_for(moving, foreign.seal_message(ENVELOPE, **PLACE)) == "bad_signature"


def test_a_result_that_was_taken_away_is_missed() -> None:
    with pytest.raises(SealError, match="Job a in queue 'orders' has no signed result"):
        signed().open_result(None, **PLACE)


def test_nothing_can_be_returned_and_is_signed_too() -> None:
    assert signed().open_result(signed().seal_result(None, **PLACE), **PLACE) == b"null"


@pytest.mark.parametrize("key", ["", "short", "k" * 31, 5, None, b"k" * 32])
def test_a_key_that_is_too_short_or_no_text_is_refused_without_being_shown(key: object) -> None:
    keys: dict[str, object] = {"first": key}

    with pytest.raises(ConfigurationError, match="The key 'first' of SigningKeys") as refused:
        SigningKeys(keys)  # type: ignore[arg-type]  # what the test is about

    assert "short" not in str(refused.value)
    assert "kkk" not in str(refused.value)


@pytest.mark.parametrize("key_id", ["", "a b", 'a"', "a\n", "k" * 65, "ä", 1])
def test_an_impossible_key_id_is_refused(key_id: object) -> None:
    keys: dict[object, str] = {key_id: KEY}

    with pytest.raises(ConfigurationError, match="cannot be the id of a key"):
        SigningKeys(keys)  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize("kind", [SigningKeys, AesGcmCipher])
@pytest.mark.parametrize("keys", [KEY, SecretStr(KEY), None, [KEY], [("new", KEY)]])
def test_keys_without_ids_are_refused_without_being_shown(
    kind: type[SigningKeys | AesGcmCipher], keys: object
) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind.__name__} takes {{id: key}}") as refused:
        kind(keys)  # type: ignore[arg-type]  # what the test is about

    assert KEY not in str(refused.value)


def test_signing_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a key at least"):
        SigningKeys({})


def test_a_seal_that_seals_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="something to seal with"):
        Sealing()
    with pytest.raises(ConfigurationError, match="accept_unsigned and sign=False go with signing"):
        Sealing(encryption=_NoCipher(), accept_unsigned=True)
    with pytest.raises(ConfigurationError, match="accept_unsigned and sign=False go with signing"):
        Sealing(encryption=_NoCipher(), sign=False)
    with pytest.raises(ConfigurationError, match="encrypt=False with encryption"):
        Sealing(signing=SigningKeys({"new": KEY}), encrypt=False)
    with pytest.raises(ConfigurationError, match="signing takes SigningKeys, not dict"):
        Sealing(signing={"new": KEY})  # type: ignore[arg-type]  # what the test is about


def test_a_secret_is_never_part_of_a_repr() -> None:
    keys = SigningKeys({"new": SecretStr(KEY)})

    assert repr(keys) == "SigningKeys(new)"
    assert KEY not in repr(Sealing(signing=keys))


class _NoCipher:
    def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
        return plain

    def decrypt(self, encrypted: bytes, *, context: bytes) -> bytes:
        return encrypted
