"""The half of the tester that looks at what was published."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from redispatcher_fastapi.consumer import ConsumesBatch, ConsumesSync, definition_of
from redispatcher_fastapi.keys import check_queue_name
from redispatcher_fastapi.testing.expectation import Expectation
from redispatcher_fastapi.testing.published import PublishedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from redispatcher_fastapi.job import Priority
    from redispatcher_fastapi.sealing import Sealing
    from redispatcher_fastapi.testing.memory import MemoryBroker, MemoryClient

M = TypeVar("M")


class Publications:
    """Everything that was published since the tester began, or was last cleared.

    Its methods may be called from any thread, in an event loop and without one. Publishing an id
    that existed already, or what is to be unique and was not, made no new job, and is not listed;
    where it replaced the message of a job, that one is listed with the new message.
    """

    def __init__(self, client: MemoryClient, broker: MemoryBroker, sealing: Sealing | None) -> None:
        self._client = client
        self._broker = broker
        self._sealing = sealing

    @property
    def published_counts(self) -> dict[str, int]:
        """How many jobs were published to each queue."""
        return dict(Counter(job.queue for job in [*self._client.publications]))

    def published(
        self, consumer: type[ConsumesSync[M, object] | ConsumesBatch[M, object]]
    ) -> list[PublishedJob[M]]:
        """Return the jobs of a consumer, in the order in which they were published.

        Raises:
            EnvelopeError: another class publishes to this queue what this one cannot read.
            SealError: it was published without the ``sealing`` of the configuration.
        """
        definition = definition_of(consumer)
        return [
            PublishedJob(job, definition, self._broker, self._sealing)
            for job in [*self._client.publications]
            if job.queue == definition.queue
        ]

    def assert_published(
        self,
        consumer: type[ConsumesSync[M, object] | ConsumesBatch[M, object]],
        where: Callable[[M], bool] | None = None,
        /,
        *,
        count: int | None = None,
        delay: timedelta | None = None,
        headers: Mapping[str, object] | None = None,
        priority: Priority | None = None,
        expires: timedelta | None = None,
        **fields: object,
    ) -> PublishedJob[M]:
        """Return the first job whose message has these fields, and for which ``where`` holds.

        A value may also be given as JSON has it, such as the text of a URL. Of ``headers`` only
        those given are compared. ``delay`` and ``expires`` are compared to within a second; a delay
        of zero is "at once".

        Raises:
            AssertionError: there is no such job, or, with ``count``, not just as many of them.
            InvalidExpectationError: there is no such field.
        """
        __tracebackhide__ = True
        expected = Expectation(
            definition_of(consumer), fields, where, delay, headers, count, priority, expires
        )
        jobs = self.published(consumer)
        found = [job for job in jobs if not expected.differences(job)]
        if found and count in {None, len(found)}:
            return found[0]
        name = expected.definition.name
        if found:
            raise AssertionError(
                f"{len(found)} jobs of {name}{expected.describe()} were published, not {count}.\n"
                f"{expected.explain(jobs, self.published_counts)}"
            )
        raise AssertionError(
            f"No job of {name}{expected.describe()} was published.\n"
            f"{expected.explain(jobs, self.published_counts)}"
        )

    def assert_not_published(
        self,
        consumer: type[ConsumesSync[M, object] | ConsumesBatch[M, object]],
        where: Callable[[M], bool] | None = None,
        /,
        *,
        delay: timedelta | None = None,
        headers: Mapping[str, object] | None = None,
        priority: Priority | None = None,
        expires: timedelta | None = None,
        **fields: object,
    ) -> None:
        """Check that :meth:`assert_published` would find no job.

        Raises:
            AssertionError: there is one.
            InvalidExpectationError: there is no such field, so that nothing could ever be found.
        """
        __tracebackhide__ = True
        expected = Expectation(
            definition_of(consumer),
            fields,
            where,
            delay,
            headers,
            priority=priority,
            expires=expires,
        )
        found = [job for job in self.published(consumer) if not expected.differences(job)]
        if found:
            listed = "\n".join(f"  {job!r}" for job in found)
            raise AssertionError(
                f"{len(found)} job(s) of {expected.definition.name}{expected.describe()} were "
                f"published:\n{listed}"
            )

    def assert_nothing_published(self, queue: str | None = None) -> None:
        """Check that nothing was published at all, or nothing to one queue.

        Raises:
            AssertionError: something was.
        """
        __tracebackhide__ = True
        counts = self.published_counts
        if queue is not None:
            counts = {name: counts[name] for name in [check_queue_name(queue)] if name in counts}
        if counts:
            listed = ", ".join(f"{name} ({number})" for name, number in counts.items())
            raise AssertionError(f"Jobs were published: {listed}.")
