"""Passes on the ends of jobs of which something follows, beside everything else a pool does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from redispatcher_fastapi.describing import log_exception, shown_id
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.flows.passing import Passing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.onward import EndedJob
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.sealing import Sealing

logger = logging.getLogger("redispatcher.pool")

#: What is remembered of ends that could not be passed on, so that each is told of once.
_MOST_REMEMBERED = 1000


class PassingOn:
    """Passes on the ends of a queue when told that there are some; never fails.

    What cannot be passed on stays in Redis, where the next look after the queue finds it.
    """

    def __init__(
        self,
        broker: Broker,
        sealing: Sealing | None,
        hooks: PoolHooks,
        *,
        done: Callable[[], None],
    ) -> None:
        """``done`` is called whenever there is nothing left to pass on."""
        self._passing = Passing(broker, sealing, stuck=self._note_stuck)
        self._hooks = hooks
        self._done = done
        self._due: set[str] = set()
        self._under_way: set[str] = set()
        self._news = asyncio.Event()
        self._told: set[tuple[str, str]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether there is something to pass on that was not tried yet."""
        return bool(self._due or self._under_way)

    def note(self, queue: str) -> None:
        """Take in that a queue has ends to be passed on."""
        self._due.add(queue)
        self._news.set()

    async def run(self, queues: Iterable[str]) -> None:
        """Pass on until cancelled; begin with what others left in some queues."""
        for queue in queues:
            self.note(queue)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._news.wait()
                self._news.clear()
                for queue in self._due - self._under_way:
                    self._due.discard(queue)
                    self._under_way.add(queue)
                    tasks.create_task(self._pass_on(queue))

    async def finish(self, seconds: float) -> None:
        """Pass on what is left after :meth:`run`, as far as that is possible in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for queue in tuple(self._due):
                    await self._pass_on(queue)
        self._due.clear()

    async def _pass_on(self, queue: str) -> None:
        try:
            await self._passing.pass_on(queue)
        except BrokerError as error:
            logger.debug("Cannot pass on what follows from jobs of %s: %s", queue, error)
        except asyncio.CancelledError:
            self._due.add(queue)  # for whoever finishes it
            raise
        except Exception as error:  # the jobs are not to suffer for it
            log_exception(logger, error, "What follows from jobs of %s is not passed on.", queue)
        finally:
            self._under_way.discard(queue)
            if self._due:
                self._news.set()
            else:
                self._done()

    def _note_stuck(self, ended: EndedJob, error: Exception) -> None:
        place = (ended.queue, ended.job_id)
        if place in self._told:
            return
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told.add(place)
        logger.debug("What follows job %s is stuck.", shown_id(ended.job_id), exc_info=error)
        self._hooks.flow_stuck(ended.queue, ended.job_id, str(error))
