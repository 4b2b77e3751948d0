"""When a process keeps itself free for a job that must run alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import Delivery

_PAUSE_BETWEEN_TRIES = 1.0
_LONGEST = 16


@dataclass(slots=True)
class SoloTurn:
    """The state of one process; times are the event loop's.

    A job that was lost with its process three times runs in a process that runs nothing else. A
    busy process asks for the turn to empty itself, so that the others go on. A turn that does not
    succeed in time passes on, and this process takes jobs again for as long; its next turn is
    longer, as there may be no process whose jobs are shorter.
    """

    shortest: float
    misses: int = 0
    queue: str | None = None
    ends_at: float = 0.0
    next_try_at: float = 0.0
    #: The solo job that is running.
    running: Delivery | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether there is a turn, or a solo job runs."""
        return self.queue is not None or self.running is not None

    def is_reserving(self, now: float) -> bool:
        """Whether this process must not take anything else."""
        if self.queue is not None and now >= self.ends_at:
            self.queue = None
            self.next_try_at = now + self.length
            self.misses += 1
        return self.is_in_use

    @property
    def length(self) -> float:
        """How long the next turn lasts, in seconds."""
        return self.shortest * min(2.0**self.misses, _LONGEST)

    def may_try(self, now: float, *, is_empty: bool) -> bool:
        """Whether it is time to ask for a solo job or a turn."""
        if self.running is not None:
            return False
        return is_empty if self.queue is not None else now >= self.next_try_at

    def take_turn(self, queue: str, now: float) -> None:
        """Begin to empty this process for a solo job of ``queue``."""
        self.queue, self.ends_at = queue, now + self.length

    def begin(self, delivery: Delivery) -> None:
        """Note that a solo job starts."""
        self.queue, self.running, self.misses = None, delivery, 0

    def miss(self, now: float) -> None:
        """Note that there was no solo job, or that another process has the turn."""
        self.queue = None
        self.next_try_at = now + _PAUSE_BETWEEN_TRIES

    def end(self, delivery: Delivery) -> None:
        """Note that a job ended; the process is free again if it was the solo job."""
        if self.running is delivery:
            self.running = None
