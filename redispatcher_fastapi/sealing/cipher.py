"""The interface of encryption, and how what is encrypted lies in Redis: ``{"v":1,"enc":"..."}``."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Protocol, runtime_checkable

from redispatcher_fastapi.errors import SealError

_ENCRYPTED = re.compile(rb'\{"v":1,"enc":"([A-Za-z0-9_-]+)"\}')


@runtime_checkable
class BodyCipher(Protocol):
    """Encrypts messages and results; :class:`AesGcmCipher` is one.

    Its methods run on the event loop and must not wait for anything. ``context`` says which message
    or result of which job in which queue it is: it must be authenticated, and need not be stored.
    """

    def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
        """Return whatever :meth:`decrypt` needs; who may read Redis can see it."""
        ...

    def decrypt(self, encrypted: bytes, *, context: bytes) -> bytes:
        """Return the plain bytes; raise any ``Exception`` unless they are authentic."""
        ...


def encrypt_envelope(cipher: BodyCipher, envelope: bytes, context: bytes) -> bytes:
    """Return the envelope that holds another one, encrypted."""
    encrypted = cipher.encrypt(envelope, context=context)
    return b'{"v":1,"enc":"%b"}' % urlsafe_b64encode(encrypted).rstrip(b"=")


def decrypt_envelope(cipher: BodyCipher, encrypted: bytes, context: bytes) -> bytes:
    """Return the envelope inside.

    Raises:
        SealError: it is not encrypted, or the cipher cannot decrypt it.
    """
    found = _ENCRYPTED.fullmatch(encrypted)
    if found is None:
        raise SealError("It is not encrypted.", reason="undecryptable")
    text = found[1]
    try:
        return cipher.decrypt(urlsafe_b64decode(text + b"=" * (-len(text) % 4)), context=context)
    except SealError:
        raise
    except Exception as error:
        # Its text could hold anything, the plain bytes included.
        raise SealError(
            f"The cipher {type(cipher).__qualname__} cannot decrypt it "
            f"({type(error).__qualname__}): it was changed, copied from another job or queue, or "
            "encrypted with another key.",
            reason="undecryptable",
        ) from None


def is_encrypted(envelope: bytes) -> bool:
    """Whether an envelope without a signature looks encrypted, be it by anybody."""
    return _ENCRYPTED.fullmatch(envelope) is not None
