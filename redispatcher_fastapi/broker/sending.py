"""The publishing side of the engine, with its deadline and its errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from redis import Redis as SyncRedis

from redispatcher_fastapi.broker.background import begin_in, run_in_thread
from redispatcher_fastapi.broker.coalescing import Coalescer
from redispatcher_fastapi.broker.confirming import Confirmation, Progress, confirmation_for
from redispatcher_fastapi.broker.deadlines import Deadlines
from redispatcher_fastapi.broker.publishing import MAX_BATCH, publish, queue_full
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.store import Store
from redispatcher_fastapi.broker.types import CREATED, KNOWN, EngineSettings
from redispatcher_fastapi.clock import ServerClock
from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerError,
    BrokerMemoryError,
    BrokerUnavailableError,
    ConfigurationError,
    NotReplicatedError,
    PublishError,
    PublishUncertainError,
    QueueFullError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from concurrent.futures import Future

    from redis.asyncio import Redis

    from redispatcher_fastapi.broker.background import Work
    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.scripts import CommandClient
    from redispatcher_fastapi.broker.types import Answer, Submission
    from redispatcher_fastapi.clock import Clock
    from redispatcher_fastapi.job import JobStore

#: The advice of an error, for whoever does not publish again by itself.
PUBLISH_AGAIN = "Publish again with the same id: that leaves exactly one job."


class DirectSender:
    """Publishes through a redis-py client of the caller's, one round trip per call."""

    def __init__(
        self,
        client: Redis | CommandClient,
        *,
        settings: EngineSettings | None = None,
        clock: Clock | None = None,
        store: JobStore | None = None,
        confirmation: Confirmation | None = None,
    ) -> None:
        """``confirmation`` is needed where the settings demand ``confirmed_replicas``."""
        if isinstance(client, SyncRedis):
            raise ConfigurationError(
                "Publishing needs an asynchronous client: use redis.asyncio.Redis, not redis.Redis."
            )
        self._client = client
        self._settings = settings or EngineSettings()
        if self._settings.confirmed_replicas and confirmation is None:
            raise ConfigurationError(
                "confirmed_replicas needs connections of the library's own: give it the address of "
                "Redis instead of a client."
            )
        self._confirmation = confirmation
        self._clock = clock or ServerClock()
        self._store = store
        self._deadlines = Deadlines()

    @classmethod
    def of(cls, broker: Broker) -> Self:
        """Return one with a broker's own connections and limits."""
        return cls(
            broker.connections.publisher_line,
            settings=broker.settings,
            clock=broker.clock,
            store=broker,
            confirmation=confirmation_for(broker),
        )

    @property
    def store(self) -> JobStore:
        if self._store is None:
            self._store = Store(self._client, self._clock)
        return self._store

    async def send(self, queue: str, submission: Submission) -> Answer:
        """Publish one job; return what became of it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.publish_timeout.total_seconds()
        answer = (await self.send_batch(queue, [submission], deadline))[0]
        if answer is None:
            raise queue_full(queue, self._settings.max_queue_length)
        return answer

    async def send_many(self, queue: str, submissions: Sequence[Submission]) -> list[Answer]:
        """Publish in batches of 1,000; return what became of each job.

        Nothing is published when the queue has no room for all. After any other error the jobs of
        the batches before it are published.
        """
        loop = asyncio.get_running_loop()
        answers: list[Answer] = []
        for start in range(0, len(submissions), MAX_BATCH):
            deadline = loop.time() + self._settings.publish_timeout.total_seconds()
            batch = submissions[start : start + MAX_BATCH]
            room_needed = len(submissions) - start
            for answer in await self.send_batch(queue, batch, deadline, room_needed=room_needed):
                if answer is None:
                    raise queue_full(queue, self._settings.max_queue_length)
                answers.append(answer)
        return answers

    def begin(self, work: Work) -> Future[bool]:
        """Do all of ``work`` before returning; the caller's client has to suit every loop."""
        return run_in_thread(work)

    async def send_some(
        self, queue: str, submissions: Sequence[Submission]
    ) -> list[Answer | QueueFullError]:
        """Publish up to 1,000 in one call, those that the queue has room for.

        Raises as :meth:`send_batch` does; nothing is known of any of them then.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.publish_timeout.total_seconds()
        full = queue_full(queue, self._settings.max_queue_length)
        answers = await self.send_batch(queue, submissions, deadline)
        return [full if answer is None else answer for answer in answers]

    async def send_batch(
        self,
        queue: str,
        submissions: Sequence[Submission],
        deadline: float,
        *,
        room_needed: int | None = None,
    ) -> list[Answer | None]:
        """Publish in one call, repeated with equal arguments until the loop's time is ``deadline``.

        Raises:
            NotReplicatedError: the jobs exist, and fewer than ``confirmed_replicas`` have them.
            PublishUncertainError: there was no answer; some or all of the jobs may exist.
            QueueFullError: Redis has no memory left.
            PublishError: Redis refused for another reason.
        """
        attempt, reason = 0, "no reply"
        progress = Progress()
        try:
            with self._deadlines.until(deadline):
                while True:
                    try:
                        if self._confirmation is None:
                            call = self._publish(self._client, queue, submissions, room_needed)
                            return _recognise_own(submissions, await call)
                        async with self._confirmation.connection(queue) as connection:
                            call = self._publish(connection, queue, submissions, room_needed)
                            answers = await call
                            await self._confirmation.wait(connection, queue, answers, progress)
                            return _recognise_own(submissions, answers)
                    except BrokerUnavailableError as error:
                        reason, progress = str(error), Progress()
                    await asyncio.sleep(jittered_delay(attempt))
                    attempt += 1
        except TimeoutError:
            if progress.answers:
                raise self._not_replicated(queue, submissions, progress) from None
            raise self.uncertain(queue, submissions, reason) from None
        except BrokerError as error:
            if progress.answers and isinstance(error, BrokerAccessError):
                raise self._not_asked(queue, submissions, progress, error) from error
            if attempt or progress.answers:
                # An earlier try, whose answer was lost, may have published.
                raise self.uncertain(queue, submissions, str(error)) from error
            if isinstance(error, BrokerMemoryError):
                raise QueueFullError(
                    f"Redis has no memory left for queue {queue!r}; nothing was published: {error}"
                ) from error
            raise PublishError(f"Redis refused to publish to {queue!r}: {error}") from error

    def _publish(
        self,
        client: CommandClient,
        queue: str,
        submissions: Sequence[Submission],
        room_needed: int | None,
    ) -> Awaitable[list[Answer | None]]:
        return publish(
            client,
            self._clock,
            queue,
            submissions,
            max_queue_length=self._settings.max_queue_length,
            room_needed=room_needed,
        )

    def _not_replicated(
        self, queue: str, submissions: Sequence[Submission], progress: Progress
    ) -> NotReplicatedError:
        seconds = self._settings.publish_timeout.total_seconds()
        return NotReplicatedError(
            f"{progress.confirmed} of {self._settings.confirmed_replicas} replicas confirmed the "
            f"publish to {queue!r} within {seconds:g} s. The job exists on the master: publish "
            "again with the same id to ask again, and look at its replicas.",
            job_ids=_existing(submissions, progress),
        )

    def _not_asked(
        self,
        queue: str,
        submissions: Sequence[Submission],
        progress: Progress,
        error: BrokerAccessError,
    ) -> NotReplicatedError:
        return NotReplicatedError(
            f"Redis published to {queue!r}, and refused to ask its replicas, which "
            f"confirmed_replicas={self._settings.confirmed_replicas} demands: {error}",
            job_ids=_existing(submissions, progress),
        )

    def uncertain(
        self, queue: str, submissions: Sequence[Submission], reason: str
    ) -> PublishUncertainError:
        """Return the error for a publish that was not confirmed in time."""
        seconds = self._settings.publish_timeout.total_seconds()
        return PublishUncertainError(
            f"Redis did not confirm the publish to {queue!r} within {seconds:g} s ({reason}). "
            + PUBLISH_AGAIN,
            job_ids=tuple(submission.job_id for submission in submissions),
        )


def _existing(submissions: Sequence[Submission], progress: Progress) -> tuple[str, ...]:
    """Return the ids of the jobs that Redis has."""
    return tuple(
        submission.job_id
        for submission, answer in zip(submissions, progress.answers, strict=True)
        if answer is not None
    )


def _recognise_own(
    submissions: Sequence[Submission], answers: Sequence[Answer | None]
) -> list[Answer | None]:
    """Take a job for new whose id was made here: only a try that was lost can have made it known.

    redis-py makes such tries too, inside of a client of the caller's.
    """
    return [
        CREATED if answer is KNOWN and not submission.is_chosen_id else answer
        for submission, answer in zip(submissions, answers, strict=True)
    ]


class Sender:
    """Publishes for a whole process: concurrent calls for one queue share round trips.

    An async context manager; what is in flight when it is left is finished first.
    """

    def __init__(self, broker: Broker) -> None:
        self._direct = DirectSender.of(broker)
        self._settings = broker.settings
        self._tasks = asyncio.TaskGroup()
        self._queues: dict[str, Coalescer[Submission, Answer | PublishError]] = {}

    @property
    def store(self) -> JobStore:
        return self._direct.store

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timeout = self._settings.publish_timeout.total_seconds()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._tasks.__aexit__(None, None, None)

    async def send(self, queue: str, submission: Submission) -> Answer:
        """Publish one job; return what became of it."""
        coalescer = self._queues.get(queue)
        if coalescer is None:
            coalescer = self._queues[queue] = self._coalescer(queue)
        answer = await coalescer.submit(submission, deadline=self._loop.time() + self._timeout)
        if isinstance(answer, PublishError):
            raise answer
        return answer

    async def send_many(self, queue: str, submissions: Sequence[Submission]) -> list[Answer]:
        """Publish in batches, see :meth:`DirectSender.send_many`."""
        return await self._direct.send_many(queue, submissions)

    def begin(self, work: Work) -> Future[bool]:
        """Begin ``work`` beside what is published, see :func:`begin_in`."""
        return begin_in(self._loop, self._tasks, work)

    def _coalescer(self, queue: str) -> Coalescer[Submission, Answer | PublishError]:
        # Each caller is told of its own job only, with an error of its own.
        async def flush(submissions: Sequence[Submission]) -> list[Answer | PublishError]:
            full = self._settings.max_queue_length
            try:
                answers = await self._direct.send_batch(
                    queue, submissions, self._loop.time() + self._timeout
                )
            except PublishUncertainError as error:
                return [
                    type(error)(error.args[0], job_ids=(each.job_id,))
                    if each.job_id in error.job_ids
                    else queue_full(queue, full)
                    for each in submissions
                ]
            except PublishError as error:
                return [type(error)(str(error)) for _ in submissions]
            return [queue_full(queue, full) if answer is None else answer for answer in answers]

        def expired(submission: Submission) -> PublishError:
            return self._direct.uncertain(queue, [submission], "no reply")

        return Coalescer(self._tasks, flush, expired=expired)
