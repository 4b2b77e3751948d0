"""All claimers of a process: one for all of its queues, and in a cluster one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.pool.cancelling import Canceller
from redispatcher_fastapi.pool.claiming import Claimer
from redispatcher_fastapi.pool.contact import Contact

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.types import Outcome
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.claiming import Runner
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.runs import Run
    from redispatcher_fastapi.pool.sharing import Sharing


class Claimers:
    """Wakes those who may have something to claim."""

    def __init__(
        self,
        broker: WorkerBroker,
        connections: Connections,
        lanes: Sequence[Lane],
        *,
        sharing: Sharing,
        runner: Runner,
        quiet: asyncio.Event,
        hooks: PoolHooks,
        end: Callable[[Lane, Run, Outcome | None], None],
    ) -> None:
        """``end`` is called for a job that was called off before it had begun."""
        # One lost shard of a cluster must not take the queues of the others with it.
        groups = [[lane] for lane in lanes] if connections.is_cluster else [lanes]
        self._all = [
            Claimer(
                broker,
                connections,
                group,
                Contact([lane.queue for lane in group], hooks),
                canceller=Canceller(hooks, end=end),
                sharing=sharing,
                runner=runner,
                quiet=quiet,
                hooks=hooks,
            )
            for group in groups
        ]
        #: The one that claims from a queue.
        self.of = {queue: claimer for claimer in self._all for queue in claimer.queues}
        self._sharing = sharing

    def __iter__(self) -> Iterator[Claimer]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def wake(self) -> None:
        """Let all of them claim again."""
        for claimer in self._all:
            claimer.wake()

    def note_work(self) -> None:
        """Let all of them claim again, as something may wait in any queue."""
        for claimer in self._all:
            claimer.note_work()

    def share_out(self, but: Claimer | None = None) -> None:
        """Wake those, but one, whose turn it is to fill the free slots."""
        if len(self._all) > 1:
            self._wake_in_turn(but)
        elif but is None:
            self.wake()

    def _wake_in_turn(self, but: Claimer | None) -> None:
        sharing = self._sharing
        if not sharing.is_limited or sharing.is_full:
            return
        counts = sharing.allot_all()
        is_needed = any(count and lane.may_have_more for lane, count in counts.items())
        for claimer in self._all:
            if claimer is not but and (
                claimer.has_use_for(counts) or (not is_needed and claimer.has_unwatched())
            ):
                claimer.wake()
