"""What is told about a pool beside its jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Outage:
    """Queues from which a pool cannot claim, why, and for how long that has lasted."""

    queues: tuple[str, ...]
    reason: str
    lasted: timedelta


@dataclass(frozen=True, slots=True)
class LoopBlock:
    """An event loop on which nothing else runs; ``lasted`` is how long at least.

    ``name``, ``queue`` and ``job_id`` are those of the consumer whose handler blocks, all ``None``
    where it is not a handler's own task; ``task`` then tells what else it is. ``stack`` ends at the
    line that is being executed. With ``is_frozen`` no thread of the process could run: it was
    stopped from outside, or a call into C kept the interpreter to itself.
    """

    lasted: timedelta
    stack: str
    name: str | None = None
    queue: str | None = None
    job_id: str | None = None
    task: str | None = None
    is_frozen: bool = False
