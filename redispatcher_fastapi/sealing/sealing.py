"""Encrypts, then signs; verifies, then decrypts."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from redispatcher_fastapi.errors import ConfigurationError, SealError
from redispatcher_fastapi.sealing.cipher import (
    BodyCipher,
    decrypt_envelope,
    encrypt_envelope,
    is_encrypted,
)
from redispatcher_fastapi.sealing.place import Purpose, place_context
from redispatcher_fastapi.sealing.signing import SigningKeys, is_signed, without_signature

_BEFORE_RESULT = b'{"v":1,"result":'


class Sealing:
    """How messages and results are sealed: signed, encrypted, or both.

    Whoever publishes, runs consumers or reads results needs the same. What is not sealed so is
    refused: a message makes its job dead with the reason ``bad_signature`` or ``undecryptable``, a
    result makes ``Job.result()`` raise :class:`SealError`. A seal holds for one job id in one
    queue. ``accept_unsigned`` and ``accept_unencrypted`` let pass what is not sealed at all, for
    as long as such messages are still waiting; meanwhile anybody can write them. ``sign=False`` and
    ``encrypt=False`` do so too, and leave that seal out of what is written here: the first step
    where others do not know the keys yet.

    Raises:
        ConfigurationError: it neither signs nor encrypts, or what it was given cannot do so.
    """

    __slots__ = (
        "_accepts_unencrypted",
        "_accepts_unsigned",
        "_cipher",
        "_encrypts",
        "_signing",
        "_signs",
    )

    def __init__(
        self,
        *,
        signing: SigningKeys | None = None,
        encryption: BodyCipher | None = None,
        accept_unsigned: bool = False,
        accept_unencrypted: bool = False,
        sign: bool = True,
        encrypt: bool = True,
    ) -> None:
        _check(signing, encryption)
        # Who leaves a seal out has to accept what it writes itself.
        accept_unsigned = accept_unsigned or not sign
        accept_unencrypted = accept_unencrypted or not encrypt
        if (accept_unsigned and signing is None) or (accept_unencrypted and encryption is None):
            raise ConfigurationError(
                "Sealing cannot accept or leave out a seal that it does not have: accept_unsigned "
                "and sign=False go with signing, accept_unencrypted and encrypt=False with "
                "encryption."
            )
        self._signing = signing
        self._cipher = encryption
        self._accepts_unsigned = accept_unsigned
        self._accepts_unencrypted = accept_unencrypted
        self._signs = signing is not None and sign
        self._encrypts = encryption is not None and encrypt

    @property
    def encrypts(self) -> bool:
        """Whether what is written here is encrypted."""
        return self._encrypts

    @property
    def has_signing_keys(self) -> bool:
        """Whether a :meth:`digest` tells nothing to those who do not know the keys."""
        return self._signing is not None

    def digest(self, text: bytes) -> str:
        """Return 64 hexadecimal digits that only the same text has.

        With keys that sign, nobody else can find the text by trying.
        """
        if self._signing is None:
            return sha256(text).hexdigest()
        return self._signing.digest(text)

    def seal_message(self, envelope: bytes, *, queue: str, job_id: str) -> bytes:
        """Return the envelope of a message, sealed; raises what the cipher raises."""
        return self._seal(envelope, "message", queue, job_id)

    def open_message(self, sealed: bytes, *, queue: str, job_id: str) -> bytes:
        """Return the envelope that was sealed.

        Raises:
            SealError: with the reason for parking the job.
        """
        return self._open(sealed, "message", queue, job_id)

    def seal_result(self, result: bytes | None, *, queue: str, job_id: str) -> bytes | None:
        """Return the JSON of a result, sealed; ``None`` as ``null``, so that it cannot be faked.

        As it is where this only opens seals.
        """
        if not (self._signs or self._encrypts):
            return result
        envelope = b"%b%b}" % (_BEFORE_RESULT, b"null" if result is None else result)
        return self._seal(envelope, "result", queue, job_id)

    def open_result(self, sealed: bytes | None, *, queue: str, job_id: str) -> bytes | None:
        """Return the JSON of the result that was sealed.

        Raises:
            SealError: it is none of this job's that was sealed with a known key.
        """
        if sealed is None:
            self._check_missing_result(queue, job_id)
            return None
        envelope = self._open(sealed, "result", queue, job_id)
        if envelope is sealed:
            return sealed  # stored before anything was sealed, and accepted
        return envelope[len(_BEFORE_RESULT) : -1]

    def seal_schedule(self, definition: bytes, *, queue: str, schedule_id: str) -> bytes:
        """Return the definition of a schedule, sealed; raises what the cipher raises."""
        return self._seal(definition, "schedule", queue, schedule_id)

    def open_schedule(self, sealed: bytes, *, queue: str, schedule_id: str) -> bytes:
        """Return the definition that was sealed.

        Raises:
            SealError: it is not sealed for this schedule with a known key.
        """
        return self._open(sealed, "schedule", queue, schedule_id)

    def seal_continuation(self, continuation: bytes, *, queue: str, job_id: str) -> bytes:
        """Return what follows a job, or how a member of a group ended, sealed."""
        return self._seal(continuation, "continuation", queue, job_id)

    def open_continuation(self, sealed: bytes, *, queue: str, job_id: str) -> bytes:
        """Return what was sealed.

        Raises:
            SealError: it is not sealed for this job with a known key.
        """
        return self._open(sealed, "continuation", queue, job_id)

    def _seal(self, envelope: bytes, purpose: Purpose, queue: str, job_id: str) -> bytes:
        context = place_context(purpose, queue, job_id)
        if self._cipher is not None and self._encrypts:
            envelope = encrypt_envelope(self._cipher, envelope, context)
        if self._signing is not None and self._signs:
            envelope = self._signing.sign(envelope, context)
        return envelope

    def _open(self, sealed: bytes, purpose: Purpose, queue: str, job_id: str) -> bytes:
        context = place_context(purpose, queue, job_id)
        envelope = sealed
        if self._signing is None:
            envelope = without_signature(envelope)
        elif is_signed(envelope) or not self._accepts_unsigned:
            envelope = self._signing.verify(envelope, context)
        if self._cipher is None:
            if is_encrypted(envelope):
                raise no_cipher()
        elif is_encrypted(envelope) or not self._accepts_unencrypted:
            envelope = decrypt_envelope(self._cipher, envelope, context)
        return envelope

    def _check_missing_result(self, queue: str, job_id: str) -> None:
        if self._signing is not None and not self._accepts_unsigned:
            raise SealError(
                f"Job {job_id} in queue {queue!r} has no signed result.", reason="bad_signature"
            )
        if self._cipher is not None and not self._accepts_unencrypted:
            raise SealError(
                f"Job {job_id} in queue {queue!r} has no encrypted result.",
                reason="undecryptable",
            )

    def __repr__(self) -> str:
        return f"Sealing(signing={self._signing!r}, encryption={self._cipher_name()})"

    def _cipher_name(self) -> str:
        # Not the repr of a cipher of the user's: it could show its keys.
        return "None" if self._cipher is None else type(self._cipher).__qualname__


def no_cipher() -> SealError:
    """Return the error for meeting something encrypted where nothing could decrypt it."""
    return SealError(
        "It is encrypted, and there is no `encryption` in the `sealing` of this configuration.",
        reason="undecryptable",
    )


def refuse_sealed_result(stored: bytes, *, queue: str, job_id: str) -> None:
    """Do nothing but for the result of somebody who seals.

    Raises:
        SealError: it is sealed, and nobody here could open it.
    """
    # A result of the user's own can look so, too: byte by byte, with 1 as "v", a possible id as
    # "kid", a signature of 43 characters, and nothing before "result", or nothing but base64 as
    # "enc". Who returns that gets an error, which is better than a wrong result for all others.
    envelope = without_signature(stored)
    has_signature, is_hidden = envelope is not stored, is_encrypted(envelope)
    if is_hidden or (has_signature and envelope.startswith(_BEFORE_RESULT)):
        only_opening = ["sign=False"] * has_signature + ["encrypt=False"] * is_hidden
        raise SealError(
            f"The result of job {job_id} in queue {queue!r} is sealed, and there is no `sealing` "
            "here to open it with: give this configuration that of its pool, or, before others "
            f"know the keys, the same with {' and '.join(only_opening)}.",
            reason="undecryptable" if is_hidden else "bad_signature",
        )


def _check(signing: Any, encryption: Any) -> None:
    if signing is None and encryption is None:
        raise ConfigurationError(
            "Sealing needs something to seal with: signing=SigningKeys(...), "
            "encryption=AesGcmCipher(...), or both."
        )
    if not (signing is None or isinstance(signing, SigningKeys)):
        raise ConfigurationError(f"signing takes SigningKeys, not {type(signing).__qualname__}.")
    if not (encryption is None or isinstance(encryption, BodyCipher)):
        raise ConfigurationError(
            "encryption takes a BodyCipher, with the methods encrypt and decrypt, not "
            f"{type(encryption).__qualname__}."
        )
