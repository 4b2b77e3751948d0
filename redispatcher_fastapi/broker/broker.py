"""The engine of one application: its connections, its limits and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.store import Store
from redispatcher_fastapi.clock import ServerClock

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.types import EngineSettings
    from redispatcher_fastapi.clock import Clock


class Broker(Store):
    """What publishers, pools and inspectors of one application share."""

    def __init__(
        self, connections: Connections, settings: EngineSettings, clock: Clock | None = None
    ) -> None:
        self.connections = connections
        self.settings = settings
        self.clock: Clock = clock or ServerClock()
        super().__init__(
            connections.publisher, self.clock, finished_max_age=settings.finished_max_age
        )
