"""AES-256-GCM, by the package ``cryptography``."""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import ConfigurationError, SealError
from redispatcher_fastapi.sealing.keys import KEY_ID, read_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_HEAD = re.compile(rb"(%b)\n" % KEY_ID.encode())
_KEY = re.compile(r"[A-Za-z0-9_-]{43}=?")


class AesGcmCipher:
    """Encrypts with AES-256-GCM and a random nonce of 96 bits: a :class:`BodyCipher`.

    The first key encrypts, and each of them decrypts. A key is 32 random bytes in URL-safe base64,
    43 characters. One key is good for 2**32 messages and results; rotate as with
    :class:`SigningKeys`. Encrypted bytes are the key's id, a line feed, the nonce, and the
    ciphertext with its tag. Needs ``redispatcher-fastapi[crypto]``.

    Raises:
        ConfigurationError: there is no key, one cannot be used, or ``cryptography`` is missing.
    """

    __slots__ = ("_ciphers", "_first")

    def __init__(self, keys: Mapping[str, SecretStr | str]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigurationError(
                "AesGcmCipher needs the package cryptography: "
                "pip install 'redispatcher-fastapi[crypto]'."
            ) from error
        found = read_keys("AesGcmCipher", keys, _read_key)
        self._ciphers = {key_id: AESGCM(key) for key_id, key in found.items()}
        self._first = next(iter(found))

    def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
        """Return the bytes encrypted with the first key, bound to ``context``."""
        head, nonce = self._first.encode() + b"\n", os.urandom(_NONCE_LENGTH)
        return head + nonce + self._ciphers[self._first].encrypt(nonce, plain, head + context)

    def decrypt(self, encrypted: bytes, *, context: bytes) -> bytes:
        """Return the plain bytes.

        Raises:
            SealError: naming the key, if it is not one of these.
            cryptography.exceptions.InvalidTag: they are not authentic, or of another context.
            ValueError: they are nothing this class encrypted.
        """
        found = _HEAD.match(encrypted)
        if found is None:
            raise ValueError("There is no key id in front.")
        cipher = self._ciphers.get(key_id := found[1].decode())
        if cipher is None:
            raise SealError(
                f"It is encrypted with the key {key_id!r}, which is not one of those known here: "
                f"{', '.join(self._ciphers)}.",
                reason="undecryptable",
            )
        sealed = encrypted[found.end() :]
        nonce, ciphertext = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
        return cipher.decrypt(nonce, ciphertext, found[0] + context)

    def __repr__(self) -> str:
        return f"AesGcmCipher({', '.join(self._ciphers)})"


def _read_key(text: str) -> bytes | None:
    if not _KEY.fullmatch(text):
        return None
    key = urlsafe_b64decode(text.rstrip("=") + "=")
    return key if len(key) == _KEY_LENGTH else None
