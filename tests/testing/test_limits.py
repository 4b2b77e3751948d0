"""Limits by the clock of a tester: what rests until a time starts at that time."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    Concurrency,
    RateLimited,
    Redispatcher,
    RedispatcherConfig,
    WaitingReason,
)
from redispatcher_fastapi.testing import RedispatcherTester

MINUTE = timedelta(minutes=1)


class Call(BaseConsumer):
    QUEUE = "call"
    LIMITS = (Concurrency(2, key="partner"),)

    class Message(BaseConsumer.Message):
        partner: str
        scope: Literal["partition", "queue"]

    calls = 0

    async def process_message(self, message: Message) -> None:
        Call.calls += 1
        if Call.calls == 1:
            raise RateLimited("60", scope=message.scope)


@pytest.mark.parametrize("scope", ["partition", "queue"])
async def test_what_ran_into_a_limit_runs_when_it_was_asked_to_and_no_sooner(
    scope: Literal["partition", "queue"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Call, "calls", 0)
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://", consumers=[Call]))
    with RedispatcherTester(dispatcher) as tester:
        job = await dispatcher.publisher(Call).publish(Call.Message(partner="acme", scope=scope))
        end = tester.clock.now() + MINUTE

        report = await tester.run_until_idle()

        assert [run.outcome for run in report.runs] == ["limited"]
        assert report.next_due_at == end
        waiting = await dispatcher.inspector.why(Call, job.id)
        assert waiting is not None
        assert (waiting.reason, waiting.until) == (WaitingReason.RATE_LIMITED, end)
        queue = await dispatcher.inspector.queue(Call)
        rests = queue.rests_until if scope == "queue" else queue.partitions[0].rests_until
        assert rests == end

        assert (await tester.run_for(MINUTE - timedelta(milliseconds=1))).runs == ()
        report = await tester.run_for(timedelta(milliseconds=1))
        assert [run.outcome for run in report.runs] == ["succeeded"]
