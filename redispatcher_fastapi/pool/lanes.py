"""What one process runs of one consumer: its slots, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.ids import new_holder_id
from redispatcher_fastapi.broker.types import Want
from redispatcher_fastapi.pool.runs import Run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from redispatcher_fastapi.broker.types import Delivery
    from redispatcher_fastapi.execution import Execution


#: Ten times as many as run at once end within milliseconds, which is how long a confirmation takes.
_UNSETTLED_PER_SLOT = 10


@dataclass(slots=True, eq=False)
class Lane:
    """The slots of one consumer in this process, and its right to them."""

    execution: Execution
    slots: int
    weight: int = 1
    #: The limits of this process's code, as the scripts read them.
    limits: str = ""
    holder: str = field(default_factory=new_holder_id)
    runs: dict[int, Run] = field(default_factory=dict[int, Run])
    #: Handed over for settling, and not confirmed by Redis yet.
    unsettled: dict[int, Delivery] = field(default_factory=dict[int, "Delivery"])
    suspects: int = 0
    #: Slots that a claim under way may fill, where all lanes share them.
    reserved: int = 0
    #: Whether the last claim filled every slot it asked for, so that more may be waiting.
    may_have_more: bool = True
    #: Whether a wake-up token of its queue is being waited for.
    is_watched: bool = False
    #: Whether Redis has not answered the last call for this lane.
    is_away: bool = False
    queue: str = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.queue = self.execution.definition.queue
        self.name = self.execution.definition.name

    @property
    def free(self) -> int:
        """How many more jobs may run now, by its own count."""
        return 0 if self.is_held_up else self.slots - len(self.runs) - self.reserved

    @property
    def occupied(self) -> int:
        """How many slots it has, those included that a claim under way may fill."""
        return len(self.runs) + self.reserved

    @property
    def demand(self) -> int:
        """How many jobs it takes at once.

        Never more than half of the slots, so that the next claim is under way while these run.
        """
        return max(0, min(self.free, (self.slots + 1) // 2))

    @property
    def is_held_up(self) -> bool:
        """Whether so many ends wait for Redis to confirm them that nothing may be added.

        All of those jobs would run again if this process were lost.
        """
        return len(self.unsettled) >= self.slots * _UNSETTLED_PER_SLOT

    def want(self, count: int, first_sequence: int) -> Want:
        """Ask for so many jobs; those that were lost before get at most half of the slots."""
        suspects = max(1, self.slots // 2) - self.suspects
        return Want(
            self.queue, self.holder, count, first_sequence, max(0, suspects), limits=self.limits
        )

    def add(self, run: Run) -> None:
        """Put a run into a slot."""
        self.runs[run.delivery.sequence] = run
        if run.delivery.losses:
            self.suspects += 1

    def remove(self, run: Run) -> None:
        """Free the slot of a run."""
        if self.runs.pop(run.delivery.sequence, None) is not None and run.delivery.losses:
            self.suspects -= 1

    def knows(self, delivery: Delivery) -> bool:
        """Whether a delivery is one that runs here, or whose end Redis has not confirmed yet."""
        run = self.runs.get(delivery.sequence)
        own = self.unsettled.get(delivery.sequence) if run is None else run.delivery
        return own is not None and (own.job_id, own.token) == (delivery.job_id, delivery.token)

    def give_up_holder(self) -> list[Run]:
        """Take a new identity after the old one was given up; return the runs of the old one."""
        lost = [run for run in self.runs.values() if run.delivery.holder == self.holder]
        self.holder = new_holder_id()
        self.may_have_more = True
        return lost


def find_run(lanes: Iterable[Lane], task: asyncio.Task[object]) -> tuple[Lane, Run] | None:
    """Return what a task runs; the thread that watches the loop asks."""
    for lane in lanes:
        for run in [*lane.runs.values()]:  # a copy, made at once
            if run.task is task:
                return lane, run
    return None
