"""Runs what is due as a pool does, but one job after another and in a fixed order."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Self

from redispatcher_fastapi.batch_execution import BatchExecution
from redispatcher_fastapi.broker.ids import new_holder_id
from redispatcher_fastapi.broker.types import (
    Cancelled,
    Released,
    Succeeded,
    Want,
)
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.errors import RequestOnlyDependencyError
from redispatcher_fastapi.execution import Execution
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.testing.cancelling import run_batch, run_job
from redispatcher_fastapi.testing.outcomes import describe_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from redispatcher_fastapi.broker.types import Claimed, Delivery, Outcome
    from redispatcher_fastapi.config import RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.execution import Dependencies
    from redispatcher_fastapi.injection import Injector
    from redispatcher_fastapi.middleware import Middleware
    from redispatcher_fastapi.testing.clock import FakeClock
    from redispatcher_fastapi.testing.memory import MemoryBroker, Publication
    from redispatcher_fastapi.testing.report import JobRun


class WatchedExecution(Execution):
    """Keeps what the handler raised, since not every outcome does."""

    def __init__(
        self,
        definition: ConsumerDefinition,
        config: RedispatcherConfig,
        dependencies: Dependencies | None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        super().__init__(
            definition,
            max_message_bytes=config.max_message_bytes,
            max_result_bytes=config.max_result_bytes,
            sealing=config.sealing,
            dependencies=dependencies,
            middleware=middleware,
            random=lambda: 1.0,
        )
        self.raised: list[BaseException] = []

    def fail(self, delivery: Delivery, error: BaseException) -> Outcome:
        self.raised.append(error)
        return super().fail(delivery, error)


def make_execution(
    definition: ConsumerDefinition,
    injector: Injector,
    config: RedispatcherConfig,
    middleware: Sequence[Middleware],
) -> WatchedExecution:
    """Return how the jobs of a consumer are run; a random delay is always its longest.

    Raises:
        RequestOnlyDependencyError: a dependency needs a request, or an app where there is none.
    """
    dependencies = _plan(definition, injector)
    return WatchedExecution(definition, config, dependencies, middleware)


def make_batch_execution(
    definition: ConsumerDefinition,
    injector: Injector,
    config: RedispatcherConfig,
    middleware: Sequence[Middleware],
) -> BatchExecution:
    """Do the same for a consumer that takes batches."""
    return BatchExecution(
        definition,
        max_message_bytes=config.max_message_bytes,
        max_result_bytes=config.max_result_bytes,
        sealing=config.sealing,
        dependencies=_plan(definition, injector),
        random=lambda: 1.0,
        middleware=middleware,
    )


def _plan(definition: ConsumerDefinition, injector: Injector) -> Dependencies | None:
    try:
        return injector.plan(definition)
    except RequestOnlyDependencyError as error:
        if injector.app is not None:
            raise
        raise RequestOnlyDependencyError(
            f"{error} In a test, give the tester the app: RedispatcherTester(dispatcher, app)."
        ) from error


class Schedule:
    """When each job is due, so that jobs of different queues run in the order of time."""

    def __init__(self, publications: Sequence[Publication]) -> None:
        self._publications = publications
        self._read = 0
        self._numbers = count()
        self._due: dict[tuple[str, str], tuple[datetime, int]] = {}
        self._queues: set[str] = set()

    @property
    def queues(self) -> AbstractSet[str]:
        """The queues that something was published to."""
        self._catch_up()
        return self._queues

    def set(self, queue: str, job_id: str, due_at: datetime) -> None:
        """Note when a job falls due; among those of one moment, who is noted first comes first."""
        self._due[queue, job_id] = due_at, next(self._numbers)

    def position(self, queue: str, job_id: str) -> tuple[datetime, int]:
        """Return what jobs are ordered by."""
        self._catch_up()
        return self._due[queue, job_id]

    def clear(self) -> None:
        """Forget all jobs, as the publications were forgotten."""
        self._read = 0
        self._due.clear()
        self._queues.clear()

    def _catch_up(self) -> None:
        for job in self._publications[self._read :]:
            self.set(job.queue, job.job_id, job.due_at)
            self._queues.add(job.queue)
            self._read += 1


class Runner:
    """Claims, executes and settles one job or batch after another.

    It is an async context manager that holds the lease.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        clock: FakeClock,
        definitions: Sequence[ConsumerDefinition],
        injector: Injector,
        schedule: Schedule,
        config: RedispatcherConfig,
        middleware: Sequence[Middleware],
    ) -> None:
        self._broker = broker
        self._config = config
        self._middleware = middleware
        self._clock = clock
        self._worker = WorkerBroker(broker.connections, broker.settings, clock)
        self._definitions = {definition.queue: definition for definition in definitions}
        self._limits = {queue: each.limits.text for queue, each in self._definitions.items()}
        self._limits |= {each.definition.queue: each.rules.text for each in config.consumers}
        self._injector = injector
        self._schedule = schedule
        self._holder = new_holder_id()
        self._sequence = 0
        self._leased: set[str] = set()
        #: When the next waiting job falls due, as of the last look.
        self.next_due_at: datetime | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._leased:
            await self._worker.depart(dict.fromkeys(self._leased, self._holder))

    async def run_next(self) -> list[JobRun]:
        """Run the job that has been due for longest, or the batch that it is part of.

        The list is empty when none is due.
        """
        queues = self._queues()
        is_only_one = len(queues) == 1
        for queue in queues if is_only_one else await self._order(queues):
            definition = self._definitions[queue]
            if definition.batch is not None:
                claimed = await self._claim({queue: definition.batch.size})
                if claimed.deliveries:
                    return await self._run_batch(definition, claimed.deliveries)
            else:
                claimed = await self._claim({queue: 1})
                for delivery in claimed.deliveries:
                    return [await self._run(definition, delivery)]
            if is_only_one:
                self._note_wait(claimed)
            elif claimed.wait is not None:  # a limit of a partition shows when it is asked for
                due = self._clock.now() + claimed.wait
                self.next_due_at = min(self.next_due_at or due, due)
        return []

    def _queues(self) -> list[str]:
        """Return the queues that something was published to and a consumer takes."""
        published = self._schedule.queues
        return [queue for queue in self._definitions if queue in published]

    async def _order(self, queues: Sequence[str]) -> list[str]:
        """Let on what is due, and return the queues that have something, the earliest first."""
        if not queues:
            return []
        self._note_wait(await self._claim(dict.fromkeys(queues, 0)))
        heads: list[tuple[tuple[datetime, int], str]] = []
        for queue in queues:
            ids = await self._broker.list_jobs(queue, JobState.QUEUED, offset=0, limit=1)
            heads += [(self._schedule.position(queue, job_id), queue) for job_id in ids]
        return [queue for _, queue in sorted(heads)]

    async def _claim(self, counts: Mapping[str, int]) -> Claimed:
        claimed = await self._worker.claim([self._want(*each) for each in counts.items()])
        if claimed.unleased:
            # The first claim, or the first after the test cleared the store. There is no upkeep,
            # so that a clock which jumps takes no lease away, and forgets no finished job.
            await self._worker.renew(dict.fromkeys(claimed.unleased, self._holder))
            self._leased |= claimed.unleased
            claimed = await self._worker.claim([self._want(*each) for each in counts.items()])
        return claimed

    def _note_wait(self, claimed: Claimed) -> None:
        self.next_due_at = None if claimed.wait is None else self._clock.now() + claimed.wait

    def _want(self, queue: str, count: int) -> Want:
        first = self._sequence + 1
        self._sequence += max(1, count)
        return Want(queue, self._holder, count, first, limits=self._limits[queue])

    async def _run(self, definition: ConsumerDefinition, delivery: Delivery) -> JobRun:
        outcome: Outcome = Released()
        try:
            execution = make_execution(definition, self._injector, self._config, self._middleware)
            outcome = await run_job(self._broker.client, execution, delivery)
        finally:
            verdict = await self._settle(delivery, outcome)
        return self._describe(definition, delivery, outcome, verdict)

    async def _run_batch(
        self, definition: ConsumerDefinition, deliveries: Sequence[Delivery]
    ) -> list[JobRun]:
        outcomes: dict[int, Outcome] = {}
        verdicts: list[str] = []
        try:
            execution = make_batch_execution(
                definition, self._injector, self._config, self._middleware
            )
            await run_batch(self._broker.client, execution, deliveries, outcomes)
        finally:
            for delivery in deliveries:
                outcome = outcomes.get(delivery.sequence, Released())
                verdicts.append(await self._settle(delivery, outcome))
        return [
            self._describe(definition, each, outcomes[each.sequence], verdict)
            for each, verdict in zip(deliveries, verdicts, strict=True)
        ]

    def _describe(
        self, definition: ConsumerDefinition, delivery: Delivery, outcome: Outcome, verdict: str
    ) -> JobRun:
        if verdict == "c":  # it was to run again
            outcome = Cancelled()
        run = describe_run(
            definition, delivery, outcome, now=self._clock.now(), sealing=self._config.sealing
        )
        if run.due_at is not None:
            self._schedule.set(delivery.queue, delivery.job_id, run.due_at)
        return replace(run, outcome="refused") if verdict in "sg" else run

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> str:
        """Tell the store how a job ended; return its :data:`Verdict`."""
        queue, holder, worker = delivery.queue, delivery.holder, self._worker
        request = worker.next_request()
        match outcome:
            case Succeeded():
                return await worker.acknowledge(queue, holder, request, [(delivery, outcome)])
            case Released():
                await worker.release(queue, holder, request, [delivery])
                return "1"
            case _:
                return await worker.fail(queue, holder, request, [(delivery, outcome)])
