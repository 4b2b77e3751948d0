"""What one process runs of a consumer that takes batches: they gather here, and then run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Released, Want
from redispatcher_fastapi.pool.lanes import Lane
from redispatcher_fastapi.pool.runs import Run
from redispatcher_fastapi.stopping import StopReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from redispatcher_fastapi.batch_execution import BatchExecution
    from redispatcher_fastapi.broker.types import Delivery, Outcome


@dataclass(slots=True, eq=False)
class BatchTask:
    """The deliveries of one batch, which gathers until it begins, and its task."""

    members: list[Member] = field(default_factory=list["Member"])
    task: asyncio.Task[None] | None = None
    #: Set when it begins or, without having begun, is given back.
    is_complete: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False
    #: Whether its task has made its first step: one that is cancelled before never makes it.
    is_running: bool = False
    is_cancelled: bool = False

    @property
    def is_called_off(self) -> bool:
        """Whether somebody cancelled each of its jobs."""
        return all(member.cancelled_for is StopReason.CANCELLED for member in self.members)

    def cancel(self) -> None:
        """Cancel the handler, once for all members: another time could interrupt its clean-up."""
        if self.task is not None and not self.is_cancelled:
            self.is_cancelled = True
            if self.is_running:
                self.task.cancel()


@dataclass(slots=True, eq=False, kw_only=True)
class Member(Run):
    """A delivery that runs together with others.

    What cancels one of them cancels all, but for somebody's call: that marks its item, and cancels
    the handler once every item is marked.
    """

    batch: BatchTask

    def interrupt(self, reason: StopReason) -> None:
        stop = self.delivery.stop
        is_in_thread = stop is not None and stop.request(reason)
        if reason is not StopReason.CANCELLED:
            self.batch.cancel()
            return
        # Before it begins, its job leaves it.
        if self.batch.has_begun and not is_in_thread and self.batch.is_called_off:
            self.batch.cancel()

    def decide(self, outcomes: Mapping[int, Outcome]) -> Outcome | None:
        """Return what becomes of the job, also where that is not in the outcomes of its batch."""
        said = outcomes.get(self.delivery.sequence)
        if said is not None and self.cancelled_for is not StopReason.CANCELLED:
            return said
        return self.conclude(said or Released())


@dataclass(slots=True, eq=False)
class BatchLane(Lane):
    """The slots of one consumer that takes batches; ``slots`` counts jobs, as everywhere.

    At any time one batch gathers at most. Nothing is claimed that could not begin.
    """

    batch_execution: BatchExecution = field(kw_only=True)
    gathering: BatchTask | None = None
    #: How many batches have begun.
    begun: int = 0
    #: Whether jobs that were lost before may be waiting: then they are asked for alone, for what
    #: is claimed beside them could only wait.
    expects_suspects: bool = False

    size: int = field(init=False)
    linger: timedelta = field(init=False)

    def __post_init__(self) -> None:
        Lane.__post_init__(self)
        batch = self.execution.definition.batch
        assert batch is not None  # or the lane would be another one
        self.size, self.linger = batch.size, batch.linger

    @property
    def room(self) -> int:
        """How many more jobs the batches have room for that could begin."""
        gathered = 0 if self.gathering is None else len(self.gathering.members)
        return self.slots - self.begun * self.size - gathered - self.reserved

    @property
    def free(self) -> int:
        return 0 if self.is_held_up else max(0, self.room)

    @property
    def demand(self) -> int:
        return min(self.free, (self.slots // self.size + 1) // 2 * self.size)

    def want(self, count: int, first_sequence: int) -> Want:
        """Ask for so many jobs, or for fewer that were lost before.

        Each of those runs in a batch of its own, so that the one which ends its process is found.
        """
        batches = self.slots // self.size
        unused = batches - self.begun - (self.gathering is not None)
        suspects = max(0, min(max(1, batches // 2) - self.suspects, unused))
        if count and suspects and self.expects_suspects:
            count, self.expects_suspects = min(count, suspects), False
        return Want(self.queue, self.holder, count, first_sequence, suspects, limits=self.limits)

    def add(self, run: Run) -> None:
        Lane.add(self, run)
        if run.delivery.losses:
            self.expects_suspects = True

    def join(self, delivery: Delivery, *, is_alone: bool) -> BatchTask:
        """Put a delivery into a batch and return it: one without a task is new.

        ``is_alone``: into one of its own.
        """
        batch = None if is_alone else self.gathering
        if batch is None or batch.is_cancelled:
            batch = BatchTask()
            if not is_alone:
                self.gathering = batch
        member = Member(delivery, batch.task, batch=batch)
        batch.members.append(member)
        self.add(member)
        if is_alone or len(batch.members) == self.size:
            self.begin(batch)
        return batch

    def begin(self, batch: BatchTask) -> None:
        """Let a batch run with what it has."""
        batch.has_begun = True
        self.begun += 1
        self._detach(batch)

    def give_back_gathered(self) -> None:
        """Let the batch that gathers end without having begun."""
        if self.gathering is not None:
            self._detach(self.gathering)

    def end(self, batch: BatchTask) -> None:
        """Take in that a batch has ended; there is room for another, and may be jobs for it."""
        if batch.has_begun:
            self.begun -= 1
        elif self.gathering is batch:  # it was cancelled
            self.gathering = None
        self.may_have_more = True

    def _detach(self, batch: BatchTask) -> None:
        batch.is_complete.set()
        if self.gathering is batch:
            self.gathering = None


def give_back_gathered(lanes: Iterable[Lane]) -> None:
    """Let others have at once what waits here for its batch to begin."""
    for lane in lanes:
        if isinstance(lane, BatchLane):
            lane.give_back_gathered()
