"""Drives the engine and its model with whatever processes, publishers and operators may do."""

from __future__ import annotations

from redispatcher_fastapi.broker.scripts import BlockingClient
from tests.model.special_scenarios import SpecialScenarios
from tests.model.strategies import EXPIRING, QUEUES

#: What it matters to that somebody waits for a job.
_WATCHED = {"watched", "result"}


class EngineMachine(SpecialScenarios):
    """Subclasses name the ``client``, see :func:`machine_for`."""

    def teardown(self) -> None:
        """Look at all there is, also when what has a time to live is gone."""
        if not hasattr(self, "pair") or not self.pair.agrees:
            return
        queue = QUEUES[0]
        if self.is_drained:
            self.drain(queue)
        self.look(queue, 0, 3)
        for expiring in EXPIRING:
            for job_id in self.pair.queues[queue].jobs if expiring in _WATCHED else ():
                self.pair.watch(queue, job_id)
            self.pair.expire(queue, expiring)


def machine_for(client: BlockingClient) -> type[EngineMachine]:
    """Return a machine that drives the engine of one store, which it empties."""
    return type("EngineMachine", (EngineMachine,), {"client": client})
