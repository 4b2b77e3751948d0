"""How calls to Redis are repeated: workers for ever, publishers until their deadline."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from redispatcher_fastapi.errors import BrokerAccessError, BrokerError, BrokerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AnswerT = TypeVar("AnswerT")

logger = logging.getLogger("redispatcher.broker")

_FIRST_DELAY = 0.05
_MAX_DELAY = 2.0
_REFUSED_DELAY = 30.0


class Watch(Protocol):
    """Is told what becomes of each try, and then says itself that Redis is away."""

    def answered(self) -> None: ...

    def failed(self, error: BrokerError, after: float) -> None:
        """Take in a failure so many seconds after the try began."""


def jittered_delay(attempt: int) -> float:
    """Return seconds to wait before repetition ``attempt`` (from 0): full jitter, capped at 2 s."""
    longest = min(_MAX_DELAY, _FIRST_DELAY * 2.0 ** min(attempt, 10))
    return longest * random.uniform(0.2, 1.0)


async def repeat_until_answered(
    call: Callable[[], Awaitable[AnswerT]],
    what: str,
    *,
    stop: asyncio.Event | None = None,
    watch: Watch | None = None,
) -> AnswerT:
    """Return the answer of an idempotent call, repeating it for as long as Redis gives none.

    Once ``stop`` is set a failure is not followed by another try, but raised.
    """
    attempt = 0
    while True:
        asked = time.monotonic()
        try:
            answer = await call()
        except BrokerError as error:
            if stop is not None and stop.is_set():
                raise
            if watch is not None:
                watch.failed(error, time.monotonic() - asked)
            delay = _note_failure(error, what, attempt, is_watched=watch is not None)
        else:
            if watch is not None:
                watch.answered()
            elif attempt:
                logger.info("Redis answers again.")
            return answer
        attempt += 1
        if stop is None:
            await asyncio.sleep(delay)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await stop.wait()


def _note_failure(error: BrokerError, what: str, attempt: int, *, is_watched: bool) -> float:
    """Log a failure, though not each repetition of it; return the seconds to wait."""
    if isinstance(error, BrokerUnavailableError):
        if attempt % 30 == 0 and not is_watched:
            logger.warning("Cannot %s, repeating: %s", what, error)
        return jittered_delay(attempt)
    if isinstance(error, BrokerAccessError):
        logger.error("Redis refuses to %s, repeating in %d s: %s", what, _REFUSED_DELAY, error)
        return _REFUSED_DELAY
    if attempt % 30 == 0:
        logger.error("Redis failed to %s, repeating.", what, exc_info=error)
    return _MAX_DELAY
