"""HMAC-SHA256 over what lies in Redis: ``{"v":1,"kid":"<key id>","sig":"<signature>",...}``."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import SealError
from redispatcher_fastapi.sealing.keys import KEY_ID, read_keys
from redispatcher_fastapi.sealing.place import join_unambiguously

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

#: What every envelope begins with; the signature comes after it, and covers all that follows.
OPENING = b'{"v":1,'
_SHORTEST_KEY = 32
#: What no signed text begins with, so that no digest is a signature.
_DIGEST = b"digest:"
_SIGNED = re.compile(rb'\{"v":1,"kid":"(%b)","sig":"([A-Za-z0-9_-]{43})",' % KEY_ID.encode())


class SigningKeys:
    """Keys for HMAC-SHA256 by their ids: the first one signs, and each of them verifies.

    A key is a random text of 32 bytes or more. To rotate, add the new key behind the others
    everywhere, then put it first, and remove the old one once nothing signed with it is left.

    Raises:
        ConfigurationError: there is no key, or one is too short or has an impossible id.
    """

    __slots__ = ("_first", "_keys")

    def __init__(self, keys: Mapping[str, SecretStr | str]) -> None:
        self._keys = read_keys("SigningKeys", keys, _read_key)
        self._first = next(iter(self._keys))

    def sign(self, envelope: bytes, context: bytes) -> bytes:
        """Return an envelope with its signature for one place."""
        rest = envelope[len(OPENING) :]
        signature = _sign(self._keys[self._first], self._first, context, rest)
        return b'%b"kid":"%b","sig":"%b",%b' % (OPENING, self._first.encode(), signature, rest)

    def verify(self, signed: bytes, context: bytes) -> bytes:
        """Return the envelope as it was before it was signed; nothing of it was parsed yet.

        Raises:
            SealError: it has no signature, or none by one of these keys for this place.
        """
        found = _SIGNED.match(signed)
        if found is None:
            raise SealError("It is not signed.", reason="bad_signature")
        key_id = found[1].decode()
        key = self._keys.get(key_id)
        if key is None:
            raise SealError(
                f"It is signed with the key {key_id!r}, which is not one of those known here: "
                f"{', '.join(self._keys)}.",
                reason="bad_signature",
            )
        rest = signed[found.end() :]
        if not hmac.compare_digest(found[2], _sign(key, key_id, context, rest)):
            raise SealError(
                f"Its signature with the key {key_id!r} is not valid: it was changed, copied from "
                "another job or queue, or signed with another secret.",
                reason="bad_signature",
            )
        return OPENING + rest

    def digest(self, text: bytes) -> str:
        """Return 64 hexadecimal digits that only who knows the first key can compute."""
        return hmac.digest(self._keys[self._first], _DIGEST + text, "sha256").hex()

    def __repr__(self) -> str:
        return f"SigningKeys({', '.join(self._keys)})"


def is_signed(envelope: bytes) -> bool:
    """Whether an envelope looks signed, be it by anybody."""
    return _SIGNED.match(envelope) is not None


def without_signature(envelope: bytes) -> bytes:
    """Return an envelope as it was before it was signed, without verifying anything."""
    found = _SIGNED.match(envelope)
    return envelope if found is None else OPENING + envelope[found.end() :]


def _sign(key: bytes, key_id: str, context: bytes, rest: bytes) -> bytes:
    signed = join_unambiguously(context, key_id.encode()) + rest
    return urlsafe_b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")


def _read_key(text: str) -> bytes | None:
    key = text.encode("utf-8", "surrogatepass")
    return key if len(key) >= _SHORTEST_KEY else None
