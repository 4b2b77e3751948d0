"""``python -m tests.reliability.run_pool``: a pool process, and the ways to break it on purpose.

The library is imported late, so that it can only find the clock of this process as it was set.
"""

from __future__ import annotations

import datetime
import os
import signal
import time
from collections.abc import Callable
from hashlib import sha1
from typing import Any


def replace(owner: object, name: str, by: object) -> None:
    """Replace a part of the library, in this process alone."""
    assert hasattr(owner, name)
    setattr(owner, name, by)


def shift_clock(hours: float) -> None:
    """Let this process believe in another time, as a machine without NTP does."""
    seconds = hours * 3600
    real_time, real_time_ns = time.time, time.time_ns

    class ShiftedDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
    replace(datetime, "datetime", ShiftedDatetime)


def remove_heartbeat() -> None:
    """Never renew a lease."""
    from redispatcher_fastapi.pool.heartbeat import Heartbeat

    def start(self: Heartbeat) -> None: ...

    replace(Heartbeat, "start", start)


def remove_release() -> None:
    """Hand nothing back."""
    from redispatcher_fastapi.broker.working import WorkerBroker

    async def release(
        self: WorkerBroker, queue: str, holder: str, request: int, deliveries: Any
    ) -> str:
        return "1" * len(deliveries)

    replace(WorkerBroker, "release", release)


def remove_isolation() -> None:
    """Let the number of losses alone decide, whoever was to blame."""
    from redispatcher_fastapi.broker.scripts import UPKEEP

    line = "local is_dead = not is_cancelled and (solo >= SOLO_LOSSES or losses >= LOSSES)"
    assert UPKEEP.source.count(line) == 1
    UPKEEP.source = UPKEEP.source.replace(line, "local is_dead = not is_cancelled and losses >= 3")
    UPKEEP.digest = sha1(UPKEEP.source.encode(), usedforsecurity=False).hexdigest()


def die_before(owner: str, name: str) -> None:
    """End as by ``kill -9`` where an end is to be passed on."""
    from redispatcher_fastapi.broker.onward import OnwardBroker
    from redispatcher_fastapi.flows.passing import Passing

    async def die(self: Any, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    replace({"broker": OnwardBroker, "passing": Passing}[owner], name, die)


def note_when_ready(note: Callable[[str], None]) -> None:
    """Note the first answer to a claim: from then on this process takes jobs."""
    from redispatcher_fastapi.broker.working import WorkerBroker

    claim = WorkerBroker.claim

    async def first_claim(self: WorkerBroker, wants: Any) -> Any:
        claimed = await claim(self, wants)
        if not claimed.unleased:
            replace(WorkerBroker, "claim", claim)
            note("ready")
        return claimed

    replace(WorkerBroker, "claim", first_claim)


def note_claims(note: Callable[[str, str, int], None]) -> None:
    """Note when Redis handed out each job that starts, in its own milliseconds."""
    from redispatcher_fastapi.hooks import LoggingHooks

    job_started = LoggingHooks.job_started

    def started(self: LoggingHooks, delivery: Any, name: str) -> None:
        note("claimed", delivery.job_id, delivery.started_ms)
        job_started(self, delivery, name)

    replace(LoggingHooks, "job_started", started)


PROTECTIONS: dict[str, Callable[[], None]] = {
    "heartbeat": remove_heartbeat,
    "release": remove_release,
    "isolation": remove_isolation,
    "reading": lambda: die_before("broker", "read"),
    "publishing": lambda: die_before("passing", "_publish"),
    "forgetting": lambda: die_before("broker", "forget"),
}


def main() -> None:
    hours = float(os.environ.get("RELIABILITY_CLOCK_OFFSET", "0"))
    if hours:
        shift_clock(hours)
    if without := os.environ.get("RELIABILITY_WITHOUT"):
        PROTECTIONS[without]()

    from redispatcher_fastapi import ConsumerPool
    from tests.reliability.jobs import make_config
    from tests.reliability.oracle import note

    note_when_ready(note)
    note_claims(note)

    queues = os.environ.get("RELIABILITY_QUEUES")
    config = make_config(os.environ)
    ConsumerPool(config, queues=queues.split(",") if queues else None).start()


if __name__ == "__main__":
    main()
