"""Signs and encrypts what lies in Redis, and refuses there what was not sealed with a known key."""

from __future__ import annotations

from redispatcher_fastapi.sealing.aes import AesGcmCipher
from redispatcher_fastapi.sealing.cipher import BodyCipher, is_encrypted
from redispatcher_fastapi.sealing.sealing import Sealing, no_cipher, refuse_sealed_result
from redispatcher_fastapi.sealing.signing import SigningKeys, without_signature

__all__ = [
    "AesGcmCipher",
    "BodyCipher",
    "Sealing",
    "SigningKeys",
    "is_encrypted",
    "no_cipher",
    "refuse_sealed_result",
    "without_signature",
]
