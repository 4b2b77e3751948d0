"""Who is told that Redis does not answer a call that is repeated until it does."""

from __future__ import annotations

import logging

import pytest

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.errors import BrokerError, BrokerUnavailableError


class Notes:
    """A watch that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def answered(self) -> None:
        self.told.append("answered")

    def failed(self, error: BrokerError, after: float) -> None:
        self.told.append(str(error))


def failing(*errors: BrokerError) -> list[BrokerError]:
    return [*errors]


async def test_a_watch_is_told_of_each_try_and_nothing_is_logged_besides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = failing(BrokerUnavailableError("first"), BrokerUnavailableError("second"))
    watch = Notes()

    async def call() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    with caplog.at_level(logging.INFO, "redispatcher"):
        assert await repeat_until_answered(call, "test", watch=watch) == "done"

    assert watch.told == ["first", "second", "answered"]
    assert caplog.records == []


async def test_without_a_watch_an_outage_is_logged_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = failing(BrokerUnavailableError("first"), BrokerUnavailableError("second"))

    async def call() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    with caplog.at_level(logging.INFO, "redispatcher"):
        await repeat_until_answered(call, "test")

    assert [record.getMessage() for record in caplog.records] == [
        "Cannot test, repeating: first",
        "Redis answers again.",
    ]
