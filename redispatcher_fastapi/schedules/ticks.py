"""The ids of scheduled jobs, which say what they were made for."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TICK = re.compile(r"[A-Za-z0-9._-]{1,64}:(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?)Z")


def job_id_of(schedule_id: str, tick: datetime) -> str:
    """Return the id of the one job there can be of a tick, as ``nightly:2026-01-01T03:00:00Z``."""
    precision = "milliseconds" if tick.microsecond else "seconds"
    return f"{schedule_id}:{tick.astimezone(UTC).replace(tzinfo=None).isoformat('T', precision)}Z"


def tick_of(job_id: str) -> datetime | None:
    """Return the tick that a job was made for, by its id; ``None`` if it was for none."""
    found = _TICK.fullmatch(job_id)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
