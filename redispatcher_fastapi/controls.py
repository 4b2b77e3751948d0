"""Pauses queues, changes their limits and tells what they wait for: half of the inspector."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.consumer import BaseConsumer, check_own_limits, definition_of
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.keys import check_job_id, check_queue_name
from redispatcher_fastapi.limits import read_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispatcher_fastapi.broker.store import Store
    from redispatcher_fastapi.limits import Limit
    from redispatcher_fastapi.queues import QueueRecord, Waiting

MAX_REASON = 1000
MAX_PARTITIONS = 200
_ZERO = timedelta()

Queue = str | type[BaseConsumer]


class QueueControls:
    """What an operator does with whole queues; each method takes a name or a consumer."""

    def __init__(self, store: Store, limits: Mapping[str, str] | None = None) -> None:
        """``limits`` are those of this application's pools by queue, as the scripts read them."""
        self._store = store
        self._limits = limits or {}

    async def queue(self, queue: Queue, *, partitions: int = 20) -> QueueRecord:
        """Return what holds a queue back, and the ``partitions`` with the longest lines.

        ``partitions`` is at most 200.
        """
        if not 0 <= partitions <= MAX_PARTITIONS:
            raise ConfigurationError(
                f"A record tells of 0 to {MAX_PARTITIONS} partitions, not {partitions}."
            )
        return await self._store.queue_record(name_of(queue), partitions)

    async def why(self, queue: Queue, id: str) -> Waiting | None:
        """Return why a job does not run now, or ``None`` when it is unknown.

        The first reason that holds is told. Of a queue whose pools belong to another application,
        its limits are only known where ``set_limits`` set them.
        """
        name = name_of(queue)
        return await self._store.why(name, check_job_id(id), self._rules_of(queue, name))

    async def pause(
        self,
        queue: Queue,
        *,
        reason: str = "",
        until: datetime | timedelta | None = None,
    ) -> None:
        """Let nothing of a queue start, in all pools, until :meth:`resume` or ``until``.

        What runs goes on, and messages are accepted. Paused again, it has the new reason and end.

        Raises:
            ConfigurationError: ``until`` is naive, or not later than now, or the reason is too
                long.
        """
        unchecked: Any = reason
        if not isinstance(unchecked, str) or len(reason) > MAX_REASON:
            raise ConfigurationError(
                f"The reason of a pause is a text of at most {MAX_REASON} characters."
            )
        ends = _checked_end(until, self._store.now())
        await self._store.pause_queue(name_of(queue), ends, reason)

    async def resume(self, queue: Queue) -> bool:
        """Let a paused queue go on at once; return whether it was paused."""
        return await self._store.resume_queue(name_of(queue))

    async def set_limits(self, queue: Queue, limits: Sequence[Limit] | None) -> None:
        """Set the limits of a queue for all its pools at once, instead of all those they have.

        They hold, also for pools that start later, until others are set; ``None`` lets each pool
        have those of its code again. The key of a limit for each partition can be ``"*"``, as it is
        always that of the consumer's own ``LIMITS``.

        Raises:
            ConfigurationError: they contradict each other, or do not fit the consumer.
        """
        name = name_of(queue)
        text: str | None = None
        if limits is not None:
            where = f"the limits of queue {name!r}"
            if isinstance(queue, str):
                text = read_limits(limits, where).text
            else:
                text = check_own_limits(definition_of(queue), limits, where).text
        await self._store.set_queue_limits(name, text)

    def _rules_of(self, queue: Queue, name: str) -> str:
        if name in self._limits or isinstance(queue, str):
            return self._limits.get(name, "")
        return definition_of(queue).limits.text


def name_of(queue: Queue) -> str:
    """Return the name of a queue, which may be given as its consumer.

    Raises:
        InvalidNameError: it cannot name a queue.
        ConsumerDefinitionError: it is neither a text nor a consumer.
    """
    return check_queue_name(queue) if isinstance(queue, str) else definition_of(queue).queue


def _checked_end(until: datetime | timedelta | None, now: datetime) -> datetime | timedelta | None:
    unchecked: Any = until
    if until is None:
        return None
    if isinstance(unchecked, timedelta):
        left = unchecked
    elif isinstance(unchecked, datetime) and unchecked.utcoffset() is not None:
        left = unchecked - now
    else:
        raise ConfigurationError(
            "A pause ends at an aware datetime, or after a timedelta, or with `until=None` when "
            f"somebody resumes the queue; not {until!r:.80}."
        )
    if not _ZERO < left <= LONGEST_DELAY:
        raise ConfigurationError(f"A pause ends later than now, and within 100 years: {until}.")
    return until
