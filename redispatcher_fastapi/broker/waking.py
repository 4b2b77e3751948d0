"""Waits for work without polling: blocks on the wake-up tokens of queues."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.ids import new_holder_id
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.scripts import POKE, as_text, leave_replica
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.keys import poke_key, queue_prefix, wake_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from redispatcher_fastapi.broker.connection import Connections

logger = logging.getLogger("redispatcher.broker")

#: A token that is lost with a frozen process or a broken connection costs at most this.
BLOCK_SECONDS = 5
#: The token of a schedule that ticks before all others.
RESCHEDULED = "t"
_POKE_LIFETIME = timedelta(seconds=10)


class WakeUp:
    """One connection that blocks on the tokens of some queues, which one server has.

    A token says only that it is worth claiming: losing one never loses a job.
    """

    def __init__(
        self,
        connections: Connections,
        queues: Sequence[str],
        *,
        woken: Callable[[], None],
        rescheduled: Callable[[], None],
    ) -> None:
        """``rescheduled`` is called besides where the token says that a schedule was changed."""
        self._connections = connections
        self._woken = woken
        self._rescheduled = rescheduled
        self._is_wanted = asyncio.Event()
        self._wanted: frozenset[str] = frozenset()
        self._blocked_on: frozenset[str] = frozenset()
        self._place = min(queues)
        self._name = new_holder_id()
        self._poke = poke_key(self._place, self._name)

    async def want(self, queues: Collection[str]) -> None:
        """Ask to be woken once, by a token of one of these queues.

        A process that is full must not wait for tokens: it would take them from idle ones.
        """
        self._wanted = frozenset(queues)
        if not self._blocked_on:
            if self._wanted:
                self._is_wanted.set()
        elif not self._wanted <= self._blocked_on:
            # Blocked on too few queues: come back, to block on them all.
            with suppress(BrokerError):
                await POKE.run(
                    self._connections.worker,
                    [queue_prefix(self._place)],
                    ["", self._name, to_milliseconds(_POKE_LIFETIME)],
                )

    async def run(self) -> None:
        """Wait for tokens until cancelled."""
        client: Any = self._connections.blocking()
        failures = 0
        try:
            while True:
                await self._is_wanted.wait()
                self._is_wanted.clear()
                if not self._wanted:
                    continue
                self._blocked_on = self._wanted
                keys = [self._poke, *(wake_key(queue) for queue in sorted(self._wanted))]
                try:
                    reply = await heeding_cancellation(
                        client.execute_command("BLPOP", *keys, BLOCK_SECONDS)
                    )
                except REDIS_ERRORS as error:
                    # Redis is away or busy; claiming says so, so this stays quiet.
                    logger.debug("Cannot wait for work: %s", error)
                    await leave_replica(client, error)
                    self._is_wanted.set()
                    # The connection may have taken a token with it.
                    self._woken()
                    await asyncio.sleep(jittered_delay(failures))
                    failures += 1
                    continue
                finally:
                    self._blocked_on = frozenset()
                failures = 0
                if reply is not None and as_text(reply[0]) == self._poke:
                    self._is_wanted.set()
                else:
                    if reply is not None and as_text(reply[1]) == RESCHEDULED:
                        self._rescheduled()
                    # Without a token too: claiming now and then makes up for one that was lost.
                    self._woken()
        finally:
            with suppress(*REDIS_ERRORS, TimeoutError):
                async with asyncio.timeout(1):
                    await client.aclose()
