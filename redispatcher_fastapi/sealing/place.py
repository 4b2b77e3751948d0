"""Where something sealed belongs: a message or a result of one job, what follows it, or a
schedule, in one queue.
"""

from __future__ import annotations

from struct import pack
from typing import Literal

Purpose = Literal["message", "result", "schedule", "continuation"]

_DOMAIN = b"redispatcher_fastapi 1"


def place_context(purpose: Purpose, queue: str, job_id: str) -> bytes:
    """Return what a seal is bound to, as bytes that no other place has."""
    job = job_id.encode("utf-8", "surrogateescape")  # somebody may have forged it
    return join_unambiguously(_DOMAIN, purpose.encode(), queue.encode(), job)


def join_unambiguously(*parts: bytes) -> bytes:
    """Return the parts in a row, each with its length (32 bits, big-endian) before it."""
    return b"".join(pack(">I", len(part)) + part for part in parts)
