"""Hears of jobs that finish: one subscription for all that a process waits for."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.ids import read_id
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.scripts import as_text
from redispatcher_fastapi.keys import finished_channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redispatcher_fastapi.broker.scripts import CommandClient

logger = logging.getLogger("redispatcher.broker")

#: redis-py raises a KeyError for a slot that is not on its map of a cluster it has not reached.
_FAILURES: tuple[type[Exception], ...] = (*REDIS_ERRORS, KeyError)

_READ_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_SUBSCRIBE_SECONDS = 2.0


class Announcements:
    """The subscription of one client in one event loop; it exists while somebody waits.

    redis-py's cluster client has no asyncio pub/sub before release 8: then nothing is ever heard.
    """

    def __init__(self, client: CommandClient) -> None:
        self._client: Any = client
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._subscribed: dict[str, asyncio.Event] = {}
        self._channels: Any = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def can_hear(self) -> bool:
        """Whether the client has pub/sub at all."""
        return hasattr(self._client, "pubsub")

    @asynccontextmanager
    async def listening(self, queue: str, job_id: str) -> AsyncGenerator[asyncio.Event, None]:
        """Provide an event that is set whenever the job may have finished.

        Entered once the server has confirmed the subscription, or has not in time.
        """
        key = finished_channel(queue), job_id
        news = asyncio.Event()
        self._waiting[key].add(news)
        try:
            if self.can_hear:
                await self._subscribe(key[0])
            yield news
        finally:
            self._waiting[key].discard(news)
            if not self._waiting[key]:
                del self._waiting[key]
            if not self._waiting:
                await self._close()

    async def _subscribe(self, channel: str) -> None:
        if self._reader is None:
            # Ends in _close(), when the last one stops waiting.
            self._reader = asyncio.get_running_loop().create_task(self._read())
        confirmed = self._subscribed.get(channel)
        if confirmed is None:
            confirmed = self._subscribed[channel] = asyncio.Event()
            if self._channels is not None:
                with suppress(*REDIS_ERRORS):  # the reader subscribes to all again
                    await heeding_cancellation(self._channels.subscribe(channel))
        with suppress(TimeoutError):
            async with asyncio.timeout(_SUBSCRIBE_SECONDS):
                await confirmed.wait()

    async def _read(self) -> None:
        failures = 0
        while True:
            self._channels = self._client.pubsub()
            try:
                await heeding_cancellation(self._channels.subscribe(*self._subscribed))
                while True:
                    message = await heeding_cancellation(
                        self._channels.get_message(timeout=_READ_SECONDS)
                    )
                    failures = 0
                    if message is not None:
                        self._take(message)
            except _FAILURES as error:
                logger.debug("Cannot hear of finished jobs: %s", error)
                await asyncio.sleep(jittered_delay(failures))
                failures += 1
            finally:
                channels, self._channels = self._channels, None
                with suppress(*REDIS_ERRORS, TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await channels.aclose()

    def _take(self, message: dict[str, Any]) -> None:
        channel = as_text(message["channel"])
        if message["type"] == "subscribe":
            self._subscribed[channel].set()
            # What was announced before this, while there was no connection, is lost: look again.
            events = [
                event
                for (other, _), waiting in self._waiting.items()
                if other == channel
                for event in waiting
            ]
        else:
            events = list(self._waiting.get((channel, read_id(message["data"])), ()))
        for event in events:
            event.set()

    async def _close(self) -> None:
        reader, self._reader = self._reader, None
        self._subscribed.clear()
        while reader is not None and not reader.done():
            reader.cancel()
            await asyncio.wait([reader], timeout=_CLOSE_SECONDS / 20)
