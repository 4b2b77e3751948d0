"""What is encrypted is readable with a key only, in its own place only, and otherwise refused."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redispatcher_fastapi import (
    AesGcmCipher,
    BodyCipher,
    ConfigurationError,
    SealError,
    Sealing,
    SigningKeys,
)
from tests.security.keys import FOREIGN_KEY, KEY, OLD_KEY, both, encrypted

ENVELOPE = b'{"v":1,"headers":{"t":"7f"},"body":{"secret":"4111"}}'
PLACE = {"queue": "orders", "job_id": "a"}


def refusal(sealing: Sealing, message: bytes, **place: str) -> SealError:
    with pytest.raises(SealError) as refused:
        sealing.open_message(message, **{**PLACE, **place})
    return refused.value


def test_headers_and_body_are_hidden_in_one_json_object() -> None:
    message = encrypted().seal_message(ENVELOPE, **PLACE)

    assert list(json.loads(message)) == ["v", "enc"]
    assert json.loads(message)["v"] == 1
    assert re.fullmatch(r"[A-Za-z0-9_-]+", json.loads(message)["enc"])


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20))
def test_whatever_was_encrypted_is_decrypted(rest: bytes, queue: str, job_id: str) -> None:
    envelope = b'{"v":1,' + rest

    for sealing in (encrypted(), both()):
        message = sealing.seal_message(envelope, queue=queue, job_id=job_id)
        assert sealing.open_message(message, queue=queue, job_id=job_id) == envelope


def test_the_same_message_never_looks_the_same() -> None:
    seen = {encrypted().seal_message(ENVELOPE, **PLACE) for _ in range(100)}

    assert len(seen) == 100


@pytest.mark.parametrize("place", [{"queue": "refunds"}, {"job_id": "b"}])
def test_a_message_copied_to_another_queue_or_id_is_refused(place: dict[str, str]) -> None:
    message = encrypted().seal_message(ENVELOPE, **PLACE)

    assert refusal(encrypted(), message, **place).reason == "undecryptable"


def test_a_message_is_no_result() -> None:
    message = encrypted().seal_message(ENVELOPE, **PLACE)

    with pytest.raises(SealError):
        encrypted().open_result(message, **PLACE)


def test_a_result_that_was_taken_away_is_missed() -> None:
    with pytest.raises(SealError, match="Job a in queue 'orders' has no encrypted result"):
        encrypted().open_result(None, **PLACE)


@given(st.data())
def test_no_single_byte_can_be_changed_unless_it_means_the_same(data: st.DataObject) -> None:
    message = bytearray(encrypted().seal_message(ENVELOPE, **PLACE))
    index = data.draw(st.integers(0, len(message) - 1))
    message[index] ^= data.draw(st.integers(1, 255))

    with suppress(SealError):
        opened = encrypted().open_message(bytes(message), **PLACE)
        # The last character of base64 has bits that mean nothing.
        assert opened == ENVELOPE
        assert index == len(message) - 3


@pytest.mark.parametrize(
    "forged",
    [
        ENVELOPE,
        b"",
        b'{"v":1,"enc":""}',
        b'{"v":1,"enc":"A"}',
        b'{"v":1,"enc":"AAAA"}',
        b'{"v":1,"enc":"bmV3Cg"}',
        b'{"v":1,"enc":"bmV3CkFBQUE"}',
        b'{"v":1,"enc":null}',
        b'{"v":1,"enc":"AAAA","body":{}}',
    ],
)
def test_what_is_not_encrypted_with_a_known_key_is_refused(forged: bytes) -> None:
    assert refusal(encrypted(), forged).reason == "undecryptable"


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    old = Sealing(encryption=AesGcmCipher({"old": OLD_KEY}))

    message = old.seal_message(ENVELOPE, **PLACE)

    assert encrypted().open_message(message, **PLACE) == ENVELOPE
    assert "'new'" in str(refusal(old, encrypted().seal_message(ENVELOPE, **PLACE)))


def test_a_wrong_secret_under_the_right_id_is_refused_and_shows_nothing() -> None:
    wrong = Sealing(encryption=AesGcmCipher({"new": FOREIGN_KEY}))

    error = refusal(wrong, encrypted().seal_message(ENVELOPE, **PLACE))

    assert error.reason == "undecryptable"
    assert "4111" not in str(error)
    assert KEY not in str(error)
    assert error.__cause__ is None


def test_plain_messages_pass_only_while_that_is_asked_for() -> None:
    moving = Sealing(encryption=AesGcmCipher({"new": KEY}), accept_unencrypted=True)

    assert moving.open_message(ENVELOPE, **PLACE) == ENVELOPE
    assert moving.open_result(b"1", **PLACE) == b"1"
    assert moving.open_result(None, **PLACE) is None
    forged = b'{"v":1,"enc":"AAAA"}'
    assert refusal(moving, forged).reason == "undecryptable"


def test_it_is_encrypted_first_and_then_signed() -> None:
    message = both().seal_message(ENVELOPE, **PLACE)

    assert list(json.loads(message)) == ["v", "kid", "sig", "enc"]
    only_encrypted = encrypted().open_message(message, **PLACE)
    assert only_encrypted == ENVELOPE
    assert refusal(both(), encrypted().seal_message(ENVELOPE, **PLACE)).reason == "bad_signature"


def test_a_signer_without_a_cipher_says_that_it_is_encrypted() -> None:
    only_signing = Sealing(signing=SigningKeys({"new": KEY}))

    error = refusal(only_signing, both().seal_message(ENVELOPE, **PLACE))

    assert error.reason == "undecryptable"
    assert "no `encryption`" in str(error)


@pytest.mark.parametrize("key", ["", "s" * 42, "s" * 44, "s" * 42 + "!", "ä" * 43, None])
def test_a_key_that_is_not_32_bytes_in_base64_is_refused_without_being_shown(key: object) -> None:
    keys: dict[str, object] = {"first": key}

    with pytest.raises(ConfigurationError, match="The key 'first' of AesGcmCipher") as refused:
        AesGcmCipher(keys)  # type: ignore[arg-type]  # what the test is about

    assert "sss" not in str(refused.value)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(ConfigurationError, match=r"redispatcher-fastapi\[crypto\]"):
        AesGcmCipher({"new": KEY})


class Leaky:
    """A cipher of a user's that shows all it has when it fails, and in its repr."""

    def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
        return plain

    def decrypt(self, encrypted: bytes, *, context: bytes) -> bytes:
        raise LookupError(encrypted)

    def __repr__(self) -> str:
        return "4111"


def test_what_a_cipher_of_a_users_says_is_not_repeated() -> None:
    leaky: BodyCipher = Leaky()
    sealing = Sealing(encryption=leaky)

    error = refusal(sealing, sealing.seal_message(ENVELOPE, **PLACE))

    assert "The cipher Leaky cannot decrypt it (LookupError)" in str(error)
    assert "4111" not in f"{error} {sealing!r}"


def test_what_is_no_cipher_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="encryption takes a BodyCipher"):
        Sealing(encryption=object())  # type: ignore[arg-type]  # what the test is about


def test_a_key_is_never_part_of_a_repr() -> None:
    assert repr(AesGcmCipher({"new": KEY, "old": OLD_KEY})) == "AesGcmCipher(new, old)"
    assert repr(encrypted()) == "Sealing(signing=None, encryption=AesGcmCipher)"
