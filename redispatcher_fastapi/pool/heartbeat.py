"""Renews the leases from a thread, so that a handler that blocks the event loop keeps its job."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.errors import BrokerError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.pool.claiming import Claimer
    from redispatcher_fastapi.pool.contact import Contact

_RENEWALS_PER_LEASE = 3


def retry_delay(failures: int, interval: timedelta) -> timedelta:
    """Return how long to wait after failed renewals, which are ``interval`` apart otherwise.

    An outage of half a lease lets every lease begin anew. A shorter one does not, so that it has to
    be over before the last sixth of the lease is: with the usual pauses, a short lease would end.
    """
    return min(timedelta(seconds=jittered_delay(failures)), interval / 4)


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
        contact: Contact,
        changed: Callable[[], None],
    ) -> None:
        """``holders``, ``renewed`` and ``changed`` are called in the thread: the first before each
        renewal, for queue and holder; the second after it, with what the renewal was asked and what
        Redis answered; the third when ``contact`` has something to report.
        """
        self._connections = connections
        self._broker = broker
        self._interval = interval
        self._holders = holders
        self._renewed = renewed
        self._contact = contact
        self._changed = changed
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
                asked = time.monotonic()
                try:
                    answers = self._broker.renew_blocking(client, holders)
                except BrokerError as error:
                    after = time.monotonic() - asked
                    self._contact.note_failure("renew", error, after=after)
                    self._changed()
                    delay = retry_delay(failures, self._interval).total_seconds()
                    failures += 1
                else:
                    delay, failures = interval, 0
                    latency = timedelta(seconds=time.monotonic() - asked)
                    if self._contact.note_answer("renew", latency):
                        self._changed()
                    self._renewed(holders, answers)
        finally:
            client.close()


def make_heartbeats(
    broker: Broker,
    worker: WorkerBroker,
    claimers: Iterable[Claimer],
    loop: asyncio.AbstractEventLoop,
) -> list[Heartbeat]:
    """Return one heartbeat for each claimer, which is told on the event loop."""

    def call(callback: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(callback, *arguments)

    return [
        Heartbeat(
            broker.connections,
            worker,
            broker.settings.lease / _RENEWALS_PER_LEASE,
            holders=claimer.holders,
            renewed=partial(call, claimer.apply_renewal),
            contact=claimer.contact,
            changed=partial(call, claimer.contact.report),
        )
        for claimer in claimers
    ]
