"""The retry policy: when a failed job runs again, and when it does not."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redispatcher_fastapi.backoff import Exponential, Fixed, Reject, Retry, RetryPolicy, Snooze
from redispatcher_fastapi.errors import ConfigurationError, RedispatcherError

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def half() -> float:
    return 0.5


class RateLimitedError(Exception):
    def __init__(self, wait: timedelta) -> None:
        super().__init__("slow down")
        self.wait = wait


class TestExponential:
    def test_without_jitter_it_doubles_from_one_second_to_one_hour(self) -> None:
        backoff = Exponential(jitter="none")

        waits = [backoff.delay(attempt, half).total_seconds() for attempt in (1, 2, 3, 12, 13, 14)]

        assert waits == [1, 2, 4, 2048, 3600, 3600]

    def test_full_jitter_takes_a_share_of_the_whole_wait(self) -> None:
        backoff = Exponential(first=8 * SECOND)

        assert backoff.delay(1, lambda: 0.0) == timedelta()
        assert backoff.delay(1, half) == 4 * SECOND
        assert backoff.delay(2, half) == 8 * SECOND

    def test_the_cap_holds_at_attempts_beyond_every_float(self) -> None:
        backoff = Exponential(factor=10.0, jitter="none")

        assert backoff.delay(1_000_000, half) == timedelta(hours=1)

    @given(
        attempt=st.integers(1, 10_000),
        share=st.floats(0, 1, exclude_max=True),
        factor=st.floats(1, 1e6),
        first=st.timedeltas(timedelta(), timedelta(days=1)),
        longer=st.timedeltas(timedelta(), timedelta(days=365)),
    )
    def test_no_wait_is_negative_or_longer_than_the_maximum(
        self, attempt: int, share: float, factor: float, first: timedelta, longer: timedelta
    ) -> None:
        backoff = Exponential(first=first, max=first + longer, factor=factor)

        assert timedelta() <= backoff.delay(attempt, lambda: share) <= first + longer

    @pytest.mark.parametrize(
        "options",
        [
            {"first": -SECOND},
            {"first": 5},
            {"max": -SECOND},
            {"max": timedelta.max},
            {"first": MINUTE, "max": SECOND},
            {"factor": 0.5},
            {"factor": float("nan")},
            {"factor": float("inf")},
            {"factor": True},
            {"factor": "2"},
            {"jitter": "some"},
        ],
    )
    def test_what_cannot_work_is_refused_when_it_is_made(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="Exponential"):
            Exponential(**options)


def test_a_fixed_back_off_waits_the_same_after_every_attempt() -> None:
    policy = RetryPolicy(backoff=Fixed(MINUTE))

    assert [policy.next_delay(attempt, ValueError(), half) for attempt in (1, 9)] == [MINUTE] * 2


@pytest.mark.parametrize("wait", [-SECOND, timedelta(days=40_000)])
def test_a_fixed_back_off_cannot_be_negative_or_endless(wait: timedelta) -> None:
    with pytest.raises(ConfigurationError, match=r"Fixed.*negative or longer than 100 years"):
        Fixed(wait)


class TestRetryPolicy:
    def test_by_default_the_tenth_attempt_is_the_last(self) -> None:
        policy = RetryPolicy()

        assert policy.next_delay(9, ValueError(), half) is not None
        assert policy.next_delay(10, ValueError(), half) is None

    def test_one_attempt_never_retries(self) -> None:
        assert RetryPolicy(max_attempts=1).next_delay(1, ValueError(), half) is None

    def test_an_error_that_is_not_to_be_retried_gives_up(self) -> None:
        policy = RetryPolicy(retry_on=(OSError,))

        assert policy.next_delay(1, ConnectionError(), half) is not None
        assert policy.next_delay(1, ValueError(), half) is None

    def test_giving_up_wins_over_retrying(self) -> None:
        policy = RetryPolicy(retry_on=(OSError,), give_up_on=(PermissionError,))

        assert policy.next_delay(1, PermissionError(), half) is None
        assert policy.next_delay(1, FileNotFoundError(), half) is not None

    @pytest.mark.parametrize(
        "error", [asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt()]
    )
    def test_an_error_outside_of_exception_counts_as_a_plain_one(
        self, error: BaseException
    ) -> None:
        assert RetryPolicy().next_delay(1, error, half) is not None
        assert RetryPolicy(retry_on=(OSError,)).next_delay(1, error, half) is None
        assert RetryPolicy(give_up_on=(Exception,)).next_delay(1, error, half) is None

    def test_the_rule_of_the_nearest_base_class_applies(self) -> None:
        policy = RetryPolicy(
            rules={
                OSError: RetryPolicy(backoff=Fixed(MINUTE)),
                ConnectionError: RetryPolicy(backoff=Fixed(SECOND), max_attempts=3),
            }
        )

        assert policy.next_delay(1, ConnectionResetError(), half) == SECOND
        assert policy.next_delay(3, ConnectionResetError(), half) is None
        assert policy.next_delay(3, FileNotFoundError(), half) == MINUTE

    def test_a_function_sees_the_attempt_and_the_exception(self) -> None:
        def wait_as_told(attempt: int, error: BaseException) -> timedelta | None:
            return error.wait * attempt if isinstance(error, RateLimitedError) else None

        policy = RetryPolicy(delay_for=wait_as_told)

        assert policy.next_delay(2, RateLimitedError(MINUTE), half) == 2 * MINUTE
        assert policy.next_delay(2, ValueError(), half) is None

    def test_the_function_is_not_asked_once_the_attempts_are_used_up(self) -> None:
        policy = RetryPolicy(max_attempts=2, delay_for=lambda attempt, error: SECOND)

        assert policy.next_delay(1, ValueError(), half) == SECOND
        assert policy.next_delay(2, ValueError(), half) is None

    @pytest.mark.parametrize("answer", [-SECOND, 5, "soon"])
    def test_a_function_that_fails_leaves_it_to_the_back_off(
        self, answer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        policy = RetryPolicy(backoff=Fixed(MINUTE), delay_for=lambda attempt, error: answer)

        with caplog.at_level(logging.ERROR):
            delay = policy.next_delay(1, ValueError(), half)

        assert delay == MINUTE
        assert "backoff decides" in caplog.text

    def test_a_handler_that_asks_for_a_retry_is_not_subject_to_retry_on(self) -> None:
        policy = RetryPolicy(retry_on=(OSError,), backoff=Fixed(MINUTE), max_attempts=2)

        assert policy.next_delay(1, Retry(SECOND), half) == SECOND
        assert policy.next_delay(1, Retry(), half) == MINUTE
        assert policy.next_delay(2, Retry(SECOND), half) is None

    def test_a_rejection_gives_up_whatever_is_left(self) -> None:
        assert RetryPolicy().next_delay(1, Reject("no such user"), half) is None

    def test_it_can_be_compared_and_used_as_a_key(self) -> None:
        policy = RetryPolicy(rules={OSError: RetryPolicy(max_attempts=2)})

        assert policy == RetryPolicy(rules={OSError: RetryPolicy(max_attempts=2)})
        assert {policy: 1}[policy] == 1

    @pytest.mark.parametrize(
        "options",
        [
            {"max_attempts": 0},
            {"max_attempts": 1.5},
            {"max_attempts": True},
            {"backoff": MINUTE},
            {"retry_on": [ValueError]},
            {"retry_on": ValueError},
            {"give_up_on": (asyncio.CancelledError,)},
            {"give_up_on": (ValueError("an instance"),)},
            {"rules": {ValueError: 3}},
            {"rules": [ValueError]},
            {"rules": {"ValueError": RetryPolicy()}},
            {"delay_for": SECOND},
        ],
    )
    def test_what_cannot_work_is_refused_when_it_is_made(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=f"RetryPolicy.{next(iter(options))}"):
            RetryPolicy(**options)


class TestWhatAHandlerCanRaise:
    def test_they_carry_their_delay_and_their_reason(self) -> None:
        assert Retry(SECOND, reason="locked").delay == SECOND
        assert str(Retry(SECOND, reason="locked")) == "locked"
        assert Retry().delay is None
        assert Snooze(MINUTE).delay == MINUTE
        assert Reject("bad input").reason == "bad input"

    @pytest.mark.parametrize("kind", [Retry, Snooze])
    def test_a_delay_that_is_no_duration_is_an_error_of_the_handler(self, kind: Any) -> None:
        with pytest.raises(TypeError, match="timedelta"):
            kind(5)
        with pytest.raises(ValueError, match="negative"):
            kind(-SECOND)
        with pytest.raises(ValueError, match="longer than 100 years"):
            kind(timedelta(days=365 * 9000))

    def test_they_belong_to_the_tree_of_errors(self) -> None:
        assert all(issubclass(kind, RedispatcherError) for kind in (Retry, Snooze, Reject))
