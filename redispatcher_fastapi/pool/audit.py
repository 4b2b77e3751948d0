"""Compares what this process holds with what Redis thinks it holds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.pool.lanes import Lane

logger = logging.getLogger("redispatcher.pool")

_SUSPICIOUS_RENEWALS = 2


class Audit:
    """Gives back jobs that are held here unknowingly, as a late reply can leave them."""

    def __init__(self, broker: WorkerBroker) -> None:
        self._broker = broker
        self._surpluses: dict[str, int] = {}

    def note(self, lane: Lane, held: int) -> None:
        """Take in how many jobs Redis sees; a call under way explains one difference, not two."""
        if held > len(lane.runs) + len(lane.unsettled):
            self._surpluses[lane.queue] = self._surpluses.get(lane.queue, 0) + 1
        else:
            self._surpluses.pop(lane.queue, None)

    async def run(self, lanes: Iterable[Lane]) -> None:
        """Give back what does not belong here; called while no claim is under way."""
        if not self._surpluses:
            return
        for lane in lanes:
            if self._surpluses.get(lane.queue, 0) >= _SUSPICIOUS_RENEWALS:
                del self._surpluses[lane.queue]
                try:
                    await self.give_back_strays(lane)
                except BrokerError as error:
                    # The next renewals count anew.
                    logger.warning(
                        "Could not look at what is held of queue %s: %s", lane.queue, error
                    )

    async def give_back_strays(self, lane: Lane) -> None:
        """Give back everything Redis sees held here that this process does not hold."""
        held = await self._broker.read_held(lane.queue, lane.holder)
        strays = [delivery for delivery in held if not lane.knows(delivery)]
        if strays:
            logger.warning(
                "Giving back %d job(s) of queue %s that were held unknowingly.",
                len(strays),
                lane.queue,
            )
            request = self._broker.next_request()
            await self._broker.release(lane.queue, lane.holder, request, strays)
