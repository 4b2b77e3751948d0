"""When a failed job runs again: the retry policy, and what a handler can raise to steer it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from traceback import format_tb
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.errors import ConfigurationError, RedispatcherError

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("redispatcher.backoff")
_ZERO = timedelta()
#: So that a job that is limited again and again does not spin.
_SHORTEST_REST = timedelta(milliseconds=100)
_UNKNOWN_REST = timedelta(seconds=30)


class Retry(RedispatcherError):
    """Raise it in a handler to run the job again later; it is charged as one attempt.

    Without a ``delay`` the consumer's back-off decides. The last attempt is still the last one.
    """

    def __init__(self, delay: timedelta | None = None, *, reason: str = "") -> None:
        super().__init__(reason or "The handler asked for another attempt.")
        self.delay = None if delay is None else checked_delay("Retry", delay)
        self.reason = reason


class Snooze(RedispatcherError):
    """Raise it in a handler to run the job again after ``delay`` without charging an attempt."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__("The handler asked to run later.")
        self.delay = checked_delay("Snooze", delay)


class Reject(RedispatcherError):
    """Raise it in a handler to make the job dead at once, whatever attempts are left."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RateLimited(RedispatcherError):
    """Raise it in a handler that ran into somebody else's limit, such as a 429.

    The job goes back to where it was, first in line, without being charged an attempt, and nothing
    else of its partition starts for ``retry_after``; nothing of the whole queue with
    ``scope="queue"``, or where the consumer's limits have no key.

    ``retry_after`` is a duration, a number of seconds, an aware time, or the text of an HTTP
    ``Retry-After`` header. ``None``, or a text that is no such header, stands for 30 seconds; less
    than a tenth of a second for that.
    """

    def __init__(
        self,
        retry_after: timedelta | float | datetime | str | None,
        *,
        scope: Literal["partition", "queue"] = "partition",
    ) -> None:
        super().__init__("The handler ran into a limit.")
        self.delay = max(read_retry_after(retry_after), _SHORTEST_REST)
        if scope not in {"partition", "queue"}:
            raise ValueError(f'RateLimited.scope must be "partition" or "queue", not {scope!r:.80}')
        self.scope: Literal["partition", "queue"] = scope


def read_retry_after(value: Any) -> timedelta:
    """Return how long to wait from now, see :class:`RateLimited`."""
    delay: timedelta | None = None
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            if value.strip().isdecimal():
                delay = timedelta(seconds=int(value))
            else:
                date = parsedate_to_datetime(value)
                value = date if date.tzinfo else date.replace(tzinfo=UTC)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("RateLimited needs an aware datetime: which time zone is it in?")
        delay = max(value - datetime.now(UTC), _ZERO)
    elif isinstance(value, timedelta):
        delay = value
    elif _is_number(value):
        delay = timedelta(seconds=value)
    elif value is not None and not isinstance(value, str):
        raise TypeError(
            "RateLimited needs a timedelta, a number of seconds, a datetime or the text of a "
            f"Retry-After header, not {type(value).__name__}."
        )
    return _UNKNOWN_REST if delay is None else checked_delay("RateLimited", delay)


class Backoff(Protocol):
    """How long to wait after a failed attempt."""

    def delay(self, attempt: int, random: Callable[[], float]) -> timedelta:
        """Return the wait after attempt number ``attempt``, which counts from 1.

        ``random`` gives numbers from 0 (included) to 1 (excluded).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Waits ``first`` after the first attempt, ``factor`` times as long after each further one.

    ``jitter="full"`` takes a random share of that, so that jobs which failed together do not
    come back together; ``"none"`` waits the whole time.
    """

    first: timedelta = timedelta(seconds=1)
    max: timedelta = timedelta(hours=1)
    factor: float = 2.0
    jitter: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        _require_duration("Exponential.first", self.first)
        _require_duration("Exponential.max", self.max)
        if self.max < self.first:
            raise ConfigurationError("Exponential.max must not be shorter than Exponential.first.")
        if not _is_number(self.factor) or not math.isfinite(self.factor) or self.factor < 1:
            raise ConfigurationError("Exponential.factor must be a finite number of at least 1.")
        if self.jitter not in {"full", "none"}:
            raise ConfigurationError('Exponential.jitter must be "full" or "none".')

    def delay(self, attempt: int, random: Callable[[], float]) -> timedelta:
        try:
            longest = min(self.first * self.factor ** (attempt - 1), self.max)
        except OverflowError:
            longest = self.max
        return longest * random() if self.jitter == "full" else longest


@dataclass(frozen=True, slots=True)
class Fixed:
    """Waits the same time after every attempt."""

    wait: timedelta

    def __post_init__(self) -> None:
        _require_duration("Fixed.wait", self.wait)

    def delay(self, attempt: int, random: Callable[[], float]) -> timedelta:
        return self.wait


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long, a failed job runs again.

    ``max_attempts`` counts the first run too: 1 never retries. ``give_up_on`` wins over
    ``retry_on``. ``rules`` gives single exception types a policy of their own; the rule for the
    nearest base class applies, and attempts are still counted over the whole job. ``delay_for``
    gets the attempt that failed (from 1) and its exception, and answers the wait, or ``None`` to
    give up; where it fails itself, the error is logged and ``backoff`` decides.

    Whatever is not an ``Exception``, such as a handler's own ``CancelledError``, is treated as if
    it were a plain one.
    """

    max_attempts: int = 10
    backoff: Backoff = field(default_factory=Exponential)
    retry_on: tuple[type[Exception], ...] = (Exception,)
    give_up_on: tuple[type[Exception], ...] = ()
    rules: Mapping[type[Exception], RetryPolicy] = field(
        default_factory=dict[type[Exception], "RetryPolicy"], hash=False
    )
    delay_for: Callable[[int, BaseException], timedelta | None] | None = None

    def __post_init__(self) -> None:
        if not _is_integer(self.max_attempts) or self.max_attempts < 1:
            raise ConfigurationError(
                "RetryPolicy.max_attempts must be a whole number of at least 1."
            )
        if not callable(getattr(self.backoff, "delay", None)):
            raise ConfigurationError(
                "RetryPolicy.backoff must have a method delay(attempt, random), "
                "such as Exponential() or Fixed(timedelta(seconds=5))."
            )
        _require_exceptions("RetryPolicy.retry_on", self.retry_on)
        _require_exceptions("RetryPolicy.give_up_on", self.give_up_on)
        if self.delay_for is not None and not callable(self.delay_for):
            raise ConfigurationError("RetryPolicy.delay_for must be a function or None.")
        object.__setattr__(self, "rules", _checked_rules(self.rules))

    def next_delay(
        self, attempt: int, error: BaseException, random: Callable[[], float]
    ) -> timedelta | None:
        """Return how long to wait after attempt number ``attempt`` failed; ``None`` gives up."""
        for error_type in type(error).__mro__:
            if error_type in self.rules:
                return self.rules[error_type].next_delay(attempt, error, random)
        if attempt >= self.max_attempts or isinstance(error, Reject):
            return None
        if isinstance(error, Retry):
            return self._back_off(attempt, random) if error.delay is None else error.delay
        if _matches(error, self.give_up_on) or not _matches(error, self.retry_on):
            return None
        if self.delay_for is None:
            return self._back_off(attempt, random)
        try:
            delay = self.delay_for(attempt, error)
            return None if delay is None else checked_delay("RetryPolicy.delay_for", delay)
        except Exception as broken:
            # Neither its text nor what it came from, which is the handler's: they may show values.
            _logger.error(  # noqa: TRY400
                "RetryPolicy.delay_for failed with %s; the policy's backoff decides.\n%s",
                type(broken).__qualname__,
                "".join(format_tb(broken.__traceback__)),
            )
            return self._back_off(attempt, random)

    def _back_off(self, attempt: int, random: Callable[[], float]) -> timedelta:
        return checked_delay("RetryPolicy.backoff", self.backoff.delay(attempt, random))


def _matches(error: BaseException, types: tuple[type[Exception], ...]) -> bool:
    if isinstance(error, Exception):
        return isinstance(error, types)
    return Exception in types


def checked_delay(what: str, delay: Any) -> timedelta:
    """Return ``delay``, which comes from a handler: its mistakes are the attempt's error."""
    if not isinstance(delay, timedelta):
        raise TypeError(f"{what} needs a timedelta as its delay, not {type(delay).__name__}.")
    if delay < _ZERO:
        raise ValueError(f"{what} cannot have a negative delay.")
    if delay > LONGEST_DELAY:
        raise ValueError(f"{what} cannot have a delay longer than 100 years.")
    return delay


def _require_duration(what: str, value: Any) -> None:
    if not isinstance(value, timedelta) or not _ZERO <= value <= LONGEST_DELAY:
        raise ConfigurationError(
            f"{what} must be a timedelta that is not negative or longer than 100 years."
        )


def _require_exceptions(what: str, value: Any) -> None:
    if not _is_a(value, tuple) or not all(map(_is_exception_type, value)):
        raise ConfigurationError(f"{what} must be a tuple of exception types.")


def _checked_rules(rules: Any) -> Mapping[type[Exception], RetryPolicy]:
    if not _is_a(rules, Mapping) or not all(
        _is_exception_type(key) and isinstance(rules[key], RetryPolicy) for key in rules
    ):
        raise ConfigurationError(
            "RetryPolicy.rules must map exception types to RetryPolicy objects."
        )
    return MappingProxyType(dict[type[Exception], RetryPolicy](rules))


def _is_exception_type(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_a(value: Any, kind: type) -> bool:
    """Do what ``isinstance`` does without a type checker drawing conclusions from it."""
    return isinstance(value, kind)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
