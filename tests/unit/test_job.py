"""The handle on a job: how long it waits for a result."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.job import Job
from tests.fastapi.recording import NoStore


class WaitingStore(NoStore):
    """Notes how long somebody would wait."""

    def __init__(self) -> None:
        self.waits: list[timedelta | None] = []

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        self.waits.append(timeout)
        return None


@pytest.mark.parametrize(
    ("timeout", "wait"),
    [
        (None, None),
        (timedelta(seconds=2), timedelta(seconds=2)),
        (2, timedelta(seconds=2)),
        (0.5, timedelta(milliseconds=500)),
        (math.inf, None),
        (1e300, None),
        # What is left of a time that is over.
        (-0.1, timedelta()),
        (-math.inf, timedelta()),
        (timedelta(seconds=-1), timedelta()),
    ],
)
async def test_a_timeout_is_a_duration_or_seconds(timeout: Any, wait: timedelta | None) -> None:
    store = WaitingStore()

    await Job(store, lambda _, raw: raw, queue="jobs", id="a").result(timeout)

    assert store.waits == [wait]


@pytest.mark.parametrize("timeout", [math.nan, "5", True, [5]])
async def test_a_timeout_that_is_neither_is_refused(timeout: Any) -> None:
    job = Job(WaitingStore(), lambda _, raw: raw, queue="jobs", id="a")

    with pytest.raises(ConfigurationError, match="timedelta or a number of seconds"):
        await job.result(timeout)
