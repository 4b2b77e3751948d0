"""The schedules of an application in a test: declared at its beginning, run when it says so."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.scheduling import ScheduleBroker
from redispatcher_fastapi.scheduling import Scheduler, Timetable
from redispatcher_fastapi.testing.memory import complete

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from redispatcher_fastapi.config import RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.testing.clock import FakeClock
    from redispatcher_fastapi.testing.memory import MemoryBroker


class Ticker:
    """Makes the jobs of schedules by the clock of a test; a jitter is always its longest."""

    def __init__(
        self,
        broker: MemoryBroker,
        clock: FakeClock,
        definitions: Sequence[ConsumerDefinition],
        config: RedispatcherConfig,
    ) -> None:
        self._clock = clock
        self._broker = ScheduleBroker(
            broker.connections.publisher, clock, max_queue_length=config.max_queue_length
        )
        declared = {each.definition.queue: each.all_schedules for each in config.consumers}
        self._timetables = [
            Timetable(
                definition,
                declared.get(definition.queue, definition.schedules),
                max_message_bytes=config.max_message_bytes,
                sealing=config.sealing,
            )
            for definition in definitions
        ]
        self._scheduler = self._make_scheduler()

    def begin(self) -> None:
        """Declare the schedules anew, in an empty store: from now on they tick."""
        self._scheduler = self._make_scheduler()
        if any(timetable.declared for timetable in self._timetables):
            complete(self.look())

    async def look(self) -> datetime | None:
        """Make the jobs that are due; return when something is due again, if it ever is."""
        while True:
            wait = (await self._scheduler.look()).wait
            if wait is None:
                return None
            if wait > timedelta():
                return self._clock.now() + wait

    def _make_scheduler(self) -> Scheduler:
        return Scheduler(self._broker, self._timetables, random=lambda: 1.0)
