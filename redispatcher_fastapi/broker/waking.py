"""Waits for work without polling: blocks on the wake-up tokens of queues."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.ids import new_holder_id, read_id
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.scripts import POKE, leave_replica
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.keys import poke_key, queue_prefix, wake_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from redispatcher_fastapi.broker.connection import Connections

logger = logging.getLogger("redispatcher.broker")

#: A token that is lost with a frozen process or a broken connection costs at most this.
BLOCK_SECONDS = 5
#: The token of a schedule that ticks before all others.
RESCHEDULED = "t"
_POKE_LIFETIME = timedelta(seconds=10)
_UNWANTED_SECONDS = 0.5


class Sleeper(Protocol):
    """Who waits, and is told why to wait no longer."""

    def holders(self) -> Mapping[str, str]:
        """Return under which identity each queue's jobs are held."""
        ...

    def note_work(self, queue: str | None = None) -> None:
        """Take in that it may be worth claiming, from one queue or from any of them."""
        ...

    def note_reschedule(self) -> None:
        """Take in that a schedule was changed; there may be work, too."""
        ...

    def note_call(self, queue: str, job_id: str) -> None:
        """Take in that somebody cancelled a job that is held here; the next claim lists it."""
        ...


class WakeUp:
    """One connection that blocks on the tokens of some queues, which one server has.

    A token says only that it is worth claiming: losing one never loses a job. So does a poke,
    which comes to this process alone when somebody cancels a job that it holds.
    """

    def __init__(
        self, connections: Connections, queues: Sequence[str], *, sleeper: Sleeper
    ) -> None:
        self._connections = connections
        self._sleeper = sleeper
        self._has_news = asyncio.Event()
        self._wanted: frozenset[str] = frozenset()
        self._is_blocked = False
        self._blocked_on: frozenset[str] = frozenset()
        self._blocked_holders: Mapping[str, str] = {}
        self._place = min(queues)
        self._name = new_holder_id()
        self._poke = poke_key(self._place, self._name)

    async def want(self, queues: Collection[str]) -> None:
        """Ask to be woken once, by a token of one of these queues.

        A process that is full must not wait for tokens: it would take them from idle ones. Pokes
        are waited for in any case.
        """
        self._wanted = frozenset(queues)
        if not self._is_blocked:
            self._has_news.set()
        elif (
            not self._wanted <= self._blocked_on or self._sleeper.holders() != self._blocked_holders
        ):
            # Blocked on too little: come back, to block on it all.
            with suppress(BrokerError):
                await POKE.run(
                    self._connections.worker,
                    [queue_prefix(self._place)],
                    ["", self._name, to_milliseconds(_POKE_LIFETIME)],
                )

    async def run(self) -> None:
        """Wait for tokens until cancelled."""
        client: Any = self._connections.blocking()
        failures, is_poked = 0, False
        try:
            while True:
                if not self._wanted and not is_poked:
                    await self._until_wanted()
                self._blocked_on, self._blocked_holders = self._wanted, self._sleeper.holders()
                pokes = {poke_key(*each): each[0] for each in self._blocked_holders.items()}
                tokens = {wake_key(queue): queue for queue in sorted(self._wanted)}
                self._is_blocked = True
                try:
                    reply = await heeding_cancellation(
                        client.execute_command("BLPOP", self._poke, *pokes, *tokens, BLOCK_SECONDS)
                    )
                except REDIS_ERRORS as error:
                    # Redis is away or busy; claiming says so, so this stays quiet.
                    logger.debug("Cannot wait for work: %s", error)
                    await leave_replica(client, error)
                    # The connection may have taken a token with it.
                    self._take_token(None)
                    is_poked = False
                    await asyncio.sleep(jittered_delay(failures))
                    failures += 1
                    continue
                finally:
                    self._is_blocked = False
                failures = 0
                key, value = map(read_id, reply or ("", ""))
                is_poked = key in pokes
                if is_poked:
                    self._sleeper.note_call(pokes[key], value)
                elif key != self._poke:
                    if value == RESCHEDULED:
                        self._sleeper.note_reschedule()
                    # Without a token too: claiming now and then makes up for one that was lost.
                    self._take_token(tokens.get(key))
        finally:
            with suppress(*REDIS_ERRORS, TimeoutError):
                async with asyncio.timeout(1):
                    await client.aclose()

    def _take_token(self, queue: str | None) -> None:
        self._wanted = frozenset()
        self._sleeper.note_work(queue)

    async def _until_wanted(self) -> None:
        """Return when a token is wanted or, for pokes alone, when none was for a while."""
        with suppress(TimeoutError):
            # A process that fills its slots all the time claims all the time, too.
            async with asyncio.timeout(_UNWANTED_SECONDS):
                while not self._wanted:
                    self._has_news.clear()
                    await self._has_news.wait()
