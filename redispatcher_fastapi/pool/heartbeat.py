"""Renews the leases from a thread, so that a handler that blocks the event loop keeps its job."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.working import WorkerBroker

logger = logging.getLogger("redispatcher.pool")


class Heartbeat:
    """A daemon thread with a connection of its own."""

    def __init__(
        self,
        connections: Connections,
        broker: WorkerBroker,
        interval: timedelta,
        *,
        holders: Callable[[], Mapping[str, str]],
        renewed: Callable[[Mapping[str, str], Mapping[str, int | None]], None],
    ) -> None:
        """``holders`` and ``renewed`` are called in the thread: the first before each renewal, for
        queue and holder; the second after it, with what the renewal was asked and what Redis
        answered.
        """
        self._connections = connections
        self._broker = broker
        self._interval = interval
        self._holders = holders
        self._renewed = renewed
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="redispatcher-heartbeat", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does so after the call it is in."""
        self._stop.set()

    def _run(self) -> None:
        # A connection that has gone dead must be noticed while there is time to renew on another.
        client = self._connections.heartbeat(longest=self._interval)
        interval = self._interval.total_seconds()
        failures = 0
        try:
            delay = interval
            while not self._stop.wait(delay):
                holders = dict(self._holders())
                try:
                    answers = self._broker.renew_blocking(client, holders)
                except BrokerError as error:
                    if failures == 0:
                        logger.warning("Cannot renew leases, repeating: %s", error)
                    # With a short lease, the usual pauses between tries would cost it.
                    delay = min(jittered_delay(failures), interval)
                    failures += 1
                else:
                    delay, failures = interval, 0
                    self._renewed(holders, answers.held)
        finally:
            client.close()
