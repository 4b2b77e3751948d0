"""Why a run was cancelled, what becomes of its job, and what happens when nothing does."""

from __future__ import annotations

import asyncio
import pickle
import threading
from datetime import timedelta
from typing import Any, cast

import pytest

from redispatcher_fastapi import Cancellation, Retry, StopReason, StopRequested
from redispatcher_fastapi.broker.types import (
    AttemptError,
    Cancelled,
    Delivery,
    Died,
    Limited,
    Outcome,
    Released,
    Retried,
    Snoozed,
    Succeeded,
)
from redispatcher_fastapi.pool.cancelling import Canceller
from redispatcher_fastapi.pool.lanes import Lane
from redispatcher_fastapi.pool.runs import Run
from redispatcher_fastapi.stopping import StopSignal, run_in_thread
from tests.pool.recording import RecordingHooks
from tests.waiting import wait_until

ERROR = AttemptError("ValueError: no")
SECOND = timedelta(seconds=1)
C, T, S, L = StopReason.CANCELLED, StopReason.TIMEOUT, StopReason.SHUTDOWN, StopReason.LOST


def make_run(job_id: str = "a") -> Run:
    delivery = Delivery("letters", job_id, "holder", 1, "1,1", b"", 0, stop=StopSignal())
    return Run(delivery, asyncio.create_task(asyncio.sleep(60)), has_begun=True)


def count_cancellations(run: Run) -> int:
    assert run.task is not None
    return run.task.cancelling()


@pytest.mark.parametrize(
    ("reasons", "counted", "cancellations"),
    [
        ([C], C, 1),
        ([C, C], C, 1),
        ([S, C], S, 1),
        ([S, L], S, 1),
        ([L, S], L, 1),
        # What was called off may be cleaning up: it gets no more time for that.
        ([C, S], C, 2),
        # Others have it, and have cancelled it.
        ([C, L], L, 2),
    ],
)
async def test_the_first_reason_counts_unless_a_called_off_run_was_lost(
    reasons: list[StopReason], counted: StopReason, cancellations: int
) -> None:
    run = make_run()
    for reason in reasons:
        run.cancel(reason)

    assert run.cancelled_for is counted
    assert run.delivery.stop is not None
    assert run.delivery.stop.reason is counted
    assert count_cancellations(run) == cancellations


@pytest.mark.parametrize(
    ("reason", "outcome", "concluded"),
    [
        *((None, outcome, outcome) for outcome in (Succeeded(), Released(), Snoozed(SECOND))),
        (C, Succeeded(), Succeeded()),
        (C, Died("result_too_large", ERROR), Died("result_too_large", ERROR)),
        (C, Died("failed", ERROR), Cancelled(ERROR)),
        (C, Died("rejected", ERROR), Cancelled(ERROR)),
        (C, Retried(SECOND, ERROR), Cancelled(ERROR)),
        (C, Retried(SECOND, AttemptError("Retry", exception=Retry())), Cancelled()),
        (C, Snoozed(SECOND), Cancelled()),
        (C, Limited(SECOND), Cancelled()),
        (C, Released(), Cancelled()),
        (S, Succeeded(), Succeeded()),
        (S, Retried(SECOND, ERROR), Released()),
        (L, Released(), None),
        (L, Succeeded(), Succeeded()),
    ],
)
async def test_what_becomes_of_a_job(
    reason: StopReason | None, outcome: Outcome, concluded: Outcome | None
) -> None:
    run = make_run()
    if reason is not None:
        run.cancel(reason)

    assert run.conclude(outcome) == concluded


async def test_a_task_that_has_not_begun_is_not_cancelled_but_told() -> None:
    run = make_run()
    run.has_begun = False

    run.cancel(C)

    assert (run.cancelled_for, count_cancellations(run)) == (C, 0)


def make_lane(*runs: Run) -> Lane:
    execution: Any = type("Execution", (), {})()
    execution.definition = type("Definition", (), {"queue": "letters", "name": "Send"})
    lane = Lane(execution, 10, holder="holder")
    for number, run in enumerate(runs):
        run.delivery.sequence = number
        lane.add(run)
    return lane


def make_canceller(hooks: RecordingHooks, *, patience: timedelta = SECOND) -> Canceller:
    return Canceller(hooks, end=lambda lane, run, outcome: None, patience=patience)


async def test_each_call_cancels_once_whether_the_claim_or_the_note_of_it_comes_first() -> None:
    run = make_run()
    lanes, listed = {"letters": make_lane(run)}, [("letters", "a")]
    canceller = make_canceller(RecordingHooks())

    canceller.apply(lanes, listed, canceller.take_calls())
    canceller.apply(lanes, listed, canceller.take_calls())
    canceller.note_call("letters", "a")
    canceller.apply(lanes, listed, canceller.take_calls())
    after_first = count_cancellations(run)
    canceller.note_call("letters", "a")
    canceller.apply(lanes, listed, canceller.take_calls())
    canceller.apply(lanes, listed, canceller.take_calls())

    assert (after_first, count_cancellations(run)) == (1, 2)


async def test_a_note_of_what_no_claim_lists_cancels_nothing() -> None:
    run = make_run()
    lanes = {"letters": make_lane(run)}
    canceller = make_canceller(RecordingHooks())
    canceller.note_call("letters", "a")

    canceller.apply(lanes, [("letters", "another")], canceller.take_calls())

    assert run.cancelled_for is None


async def test_what_was_claimed_under_a_lost_identity_is_not_meant() -> None:
    run = make_run()
    lane = make_lane(run)
    lane.holder = "another"
    canceller = make_canceller(RecordingHooks())

    canceller.apply({"letters": lane}, [("letters", "a")], canceller.take_calls())

    assert run.cancelled_for is None


async def test_a_handler_that_goes_on_is_told_of_once() -> None:
    heedless, ended = make_run("heedless"), make_run("ended")
    hooks = RecordingHooks()
    lanes = {"letters": make_lane(heedless, ended)}
    canceller = make_canceller(hooks, patience=timedelta(milliseconds=20))
    listed = [("letters", "heedless"), ("letters", "ended")]

    canceller.apply(lanes, listed, canceller.take_calls())
    ended.is_ended = True
    canceller.apply(lanes, listed, canceller.take_calls())
    await wait_until(lambda: bool(hooks.heedless))
    await asyncio.sleep(0.03)

    assert hooks.heedless == ["heedless"]


def test_a_token_says_that_a_run_may_go_on_until_it_is_to_stop() -> None:
    signal = StopSignal()
    token: Cancellation = signal
    token.raise_if_requested()
    before = (token.is_requested, token.reason)

    signal.request(S)

    assert before == (False, None)
    assert (token.is_requested, token.reason) == (True, S)
    with pytest.raises(StopRequested, match="to stop: shutdown") as raised:
        token.raise_if_requested()
    assert raised.value.reason is S
    assert not isinstance(raised.value, Exception)


async def test_a_token_follows_a_timeout() -> None:
    signal = StopSignal()
    reasons: list[StopReason | None] = []

    async def run() -> None:
        async with asyncio.timeout(0.01) as timeout:
            signal.follow(timeout)
            reasons.append(signal.reason)
            try:
                await asyncio.sleep(60)
            finally:
                reasons.append(signal.reason)

    with pytest.raises(TimeoutError):
        await run()

    assert reasons == [None, T]
    assert signal.reason is T


async def test_a_thread_that_was_asked_to_stop_before_it_began_does_not_begin() -> None:
    signal, called = StopSignal(), list[int]()
    signal.request(C)

    with pytest.raises(StopRequested):
        await run_in_thread(lambda: called.append(1), [signal], None)

    assert called == []


async def test_it_is_known_whether_a_thread_is_at_work() -> None:
    signal, begun, go_on = StopSignal(), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go_on.wait(10)
        return "done"

    before = signal.request(C)
    signal = StopSignal()
    task = asyncio.create_task(run_in_thread(work, [signal], None))
    await wait_until(begun.is_set)
    meanwhile = signal.request(C)
    go_on.set()

    assert await task == "done"
    assert (before, meanwhile, signal.request(C)) == (False, True, False)


def test_a_request_to_stop_can_be_pickled() -> None:
    copy = cast("StopRequested", pickle.loads(pickle.dumps(StopRequested(C))))

    assert copy.reason is C
