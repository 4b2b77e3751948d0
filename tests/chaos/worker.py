"""``python -m tests.chaos.worker``: ``redispatcher pool`` that tells which deliveries it runs.

``CHAOS_WITHOUT`` names a protection that it is to lack: what must then go wrong is part of the
suite.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import sha1
from typing import Any, Literal

from redispatcher_fastapi.broker import retrying, scripts
from redispatcher_fastapi.broker.scripts import Script
from redispatcher_fastapi.cli import main
from redispatcher_fastapi.hooks import LoggingHooks
from redispatcher_fastapi.pool.heartbeat import Heartbeat
from tests.chaos.journal import note
from tests.chaos.workload import current_run
from tests.reliability.run_pool import note_when_ready, replace

Protection = Literal[
    "fence", "dedupe", "renewal", "outage-grace", "isolation", "shutdown-grace", "slots"
]

_FENCE = "local function owns(delivery, token) return delivery == token end"


def rewrite(script: Script, line: str, by: str) -> None:
    """Replace one line of a script, in this process alone."""
    assert script.source.count(line) == 1, f"{script.name} has changed: {line!r}"
    script.source = script.source.replace(line, by)
    script.digest = sha1(script.source.encode(), usedforsecurity=False).hexdigest()


def remove_fence() -> None:
    """Accept what anybody says of a job."""
    for script in (scripts.ACK, scripts.FAIL, scripts.RELEASE):
        rewrite(script, _FENCE, "local function owns() return true end")


def remove_renewal() -> None:
    """Never renew a lease, in every other process: if none did, it would pass for an outage."""
    if int(os.environ["CHAOS_NUMBER"]) % 2:

        def start(self: Heartbeat) -> None: ...

        replace(Heartbeat, "start", start)


def remove_outage_grace() -> None:
    """Take a server that was away for a process that was, and look at it before anybody renews."""

    def at_once(attempt: int) -> float:
        return 0.05

    replace(retrying, "jittered_delay", at_once)
    line = "if now < seen or now - seen > lease / 2 then"
    rewrite(scripts.UPKEEP, line, "if false then")
    rewrite(scripts.RENEW, line, "if false then")


def remove_isolation() -> None:
    """Let the number of losses alone decide, whoever was to blame."""
    rewrite(
        scripts.UPKEEP,
        "(solo >= SOLO_LOSSES or losses >= LOSSES)",
        "losses >= 3",
    )


def remove_slots() -> None:
    """Let as many jobs of a partition run as there are places for."""
    rewrite(scripts.CLAIM, "if rules.slots and used >= rules.slots then", "if false then")


def remove_dedupe() -> None:
    """Take every publish for the first of its id; in the process that publishes."""
    rewrite(
        scripts.PUBLISH,
        "if call('HSETNX', jobs, ARGV[5], stamp .. ARGV[6]) == 0 then return '0' end",
        "call('HSET', jobs, ARGV[5], stamp .. ARGV[6])",
    )
    rewrite(scripts.PUBLISH, "local is_known = known[index] or taken[id]", "local is_known = false")


def remove_shutdown_grace() -> None:
    """Cancel what runs as soon as it is told to stop."""
    os.environ["CHAOS_GRACE"] = "0"


PROTECTIONS: Mapping[Protection, Callable[[], None]] = {
    "fence": remove_fence,
    "dedupe": remove_dedupe,
    "renewal": remove_renewal,
    "outage-grace": remove_outage_grace,
    "isolation": remove_isolation,
    "shutdown-grace": remove_shutdown_grace,
    "slots": remove_slots,
}


def note_runs() -> None:
    """Tell the handlers which delivery they run."""
    job_started = LoggingHooks.job_started

    def started(self: LoggingHooks, delivery: Any, name: str) -> None:
        current_run.set(f"{delivery.holder}/{delivery.token}")
        job_started(self, delivery, name)

    replace(LoggingHooks, "job_started", started)


if __name__ == "__main__":
    if without := os.environ.get("CHAOS_WITHOUT"):
        PROTECTIONS[without]()  # type: ignore[index]  # a wrong name ends the process
    note_runs()
    note_when_ready(note)
    main()
