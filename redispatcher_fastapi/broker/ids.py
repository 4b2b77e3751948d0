"""Job ids: short, unique without coordination, and in the order they were made."""

from __future__ import annotations

import os
from base64 import b64encode
from os import urandom
from time import time

# Base 64 in an alphabet whose characters sort as their values do, and are safe in URLs and keys.
_SORTABLE = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
)
_IDS_AT_ONCE = 256
_EPOCH = 1_577_836_800_000  # 2020-01-01 in milliseconds; 42 bits last until 2159


class _RandomBytes:
    """Random bytes of the system, fetched for many ids at once: each call costs it 1 us or more."""

    def __init__(self) -> None:
        self._left: list[int] = []
        # A child would give out the same bytes as its parent.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def take(self) -> int:
        """Return 56 random bits that were never returned before; any thread may ask."""
        try:
            return self._left.pop()
        except IndexError:
            fresh = urandom(7 * _IDS_AT_ONCE)
            left = [int.from_bytes(fresh[at : at + 7]) for at in range(0, len(fresh), 7)]
            taken = left.pop()
            self._left = left
            return taken

    def _forget(self) -> None:
        self._left = []


_random_bytes = _RandomBytes()


def new_job_id() -> str:
    """Return 16 characters: 42 bits of milliseconds, then 54 random bits.

    16 is what Redis stores without a larger allocation, see ``docs/life-of-a-job.md``. At a steady
    10,000 ids a second one pair in about 13,000 years falls on the same id. The time is only for
    sorting: nothing is decided by it, so a wrong clock does no harm.
    """
    milliseconds = int(time() * 1000) - _EPOCH
    number = (milliseconds & 0x3FFFFFFFFFF) << 54 | _random_bytes.take() >> 2
    return b64encode(number.to_bytes(12)).translate(_SORTABLE).decode()


def new_holder_id() -> str:
    """Return the random identity under which a process holds jobs; half of the fencing token."""
    return b64encode(urandom(15)).translate(_SORTABLE).decode()


def read_id(value: str | bytes) -> str:
    """Return an id that Redis holds; one that somebody forged is no text, and survives as well."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def write_id(job_id: str) -> bytes:
    """Return the bytes that :func:`read_id` read."""
    return job_id.encode("utf-8", "surrogateescape")
