"""The machinery behind the tester: its store, and how it comes to run jobs in which event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from redispatcher_fastapi.broker.types import Delivery
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.consumer import prepare, result_reader
from redispatcher_fastapi.errors import ConfigurationError, NotRunningError
from redispatcher_fastapi.flows.passing import Passing
from redispatcher_fastapi.injection import Injector
from redispatcher_fastapi.job import JobState
from redispatcher_fastapi.publisher import STATE_KEY
from redispatcher_fastapi.testing.memory import MemoryBroker, MemoryClient, complete
from redispatcher_fastapi.testing.outcomes import describe_run
from redispatcher_fastapi.testing.report import EndlessRunError, JobRun, RunReport
from redispatcher_fastapi.testing.running import (
    Runner,
    Schedule,
    make_batch_execution,
    make_execution,
)
from redispatcher_fastapi.testing.ticking import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from datetime import timedelta

    from fastapi import FastAPI
    from pydantic import BaseModel

    from redispatcher_fastapi.broker.onward import EndedJob
    from redispatcher_fastapi.broker.types import Outcome
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.dispatcher import Redispatcher
    from redispatcher_fastapi.testing.clock import FakeClock

    Overrides = Mapping[Callable[..., Any], Callable[..., Any]]

T = TypeVar("T")

_WAITING = (JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING)


class Work:
    """The store of one tester and everything that runs out of it."""

    def __init__(
        self,
        dispatcher: Redispatcher,
        app: FastAPI | None,
        clock: FakeClock,
        definitions: Sequence[ConsumerDefinition],
    ) -> None:
        self._dispatcher = dispatcher
        self._config = dispatcher.config
        self._app = app
        self._clock = clock
        self._definitions = definitions
        self._overrides: Overrides | None = None
        self.client = MemoryClient(clock)
        self.broker = MemoryBroker(
            self.client,
            # The store of a test has no replicas.
            replace(self._config.engine_settings(), confirmed_replicas=0),
            clock,
            run_next=self._run_next,
        )
        self._schedule = Schedule(self.client.publications)
        self._passing = Passing(self.broker, self._config.sealing, stuck=_raise_stuck)
        self._ticker = Ticker(self.broker, clock, definitions, self._config)
        self.runs: list[JobRun] = []
        #: The runs of each report that is being made.
        self._reported: list[list[JobRun]] = []
        #: What the lifespan yielded, if the tester runs it.
        self.state: Mapping[str, Any] = {}
        self.is_open = False

    def clear(self) -> None:
        """Forget all jobs and runs."""
        self.client.clear()
        self._schedule.clear()
        self.runs.clear()
        self._ticker.begin()

    async def run_once(
        self,
        definition: ConsumerDefinition,
        message: Any,
        attempt: int,
        headers: BaseModel | Mapping[str, Any] | None,
        overrides: Overrides | None,
    ) -> tuple[Callable[[bytes | None], Any], Outcome, Sequence[BaseException]]:
        """Run one attempt at a message in no queue.

        Returns what reads its result, how it ended, and what it raised.
        """
        self.check_open()
        if definition.batch is not None:
            raise ConfigurationError(
                f"{definition.name} takes batches: use run_batch, with a list of messages."
            )
        delivery = self._deliver(definition, message, attempt, headers)
        execution = make_execution(
            definition, self._injector(overrides), self._config, self._dispatcher.middleware
        )
        outcome = await execution.run(delivery)
        read_result = partial(result_reader(definition, self._config.sealing), delivery.job_id)
        return read_result, outcome, execution.raised

    async def run_batch_once(
        self,
        definition: ConsumerDefinition,
        messages: Sequence[Any],
        attempt: int,
        headers: BaseModel | Mapping[str, Any] | None,
        overrides: Overrides | None,
    ) -> list[JobRun]:
        """Run one attempt at a batch of messages in no queue."""
        self.check_open()
        if definition.batch is None:
            raise ConfigurationError(
                f"{definition.name} takes one message at a time: use run instead of run_batch."
            )
        if not 1 <= len(messages) <= definition.batch.size:
            raise ConfigurationError(
                f"A batch of {definition.name} has 1 to {definition.batch.size} messages, "
                f"not {len(messages)}."
            )
        deliveries = [
            self._deliver(definition, message, attempt, headers, sequence)
            for sequence, message in enumerate(messages)
        ]
        execution = make_batch_execution(
            definition, self._injector(overrides), self._config, self._dispatcher.middleware
        )
        outcomes: dict[int, Outcome] = {}
        await execution.run_batch(deliveries, outcomes)
        now, sealing = self._clock.now(), self._config.sealing
        return [
            describe_run(definition, each, outcomes[each.sequence], now=now, sealing=sealing)
            for each in deliveries
        ]

    def _deliver(
        self,
        definition: ConsumerDefinition,
        message: Any,
        attempt: int,
        headers: BaseModel | Mapping[str, Any] | None,
        sequence: int = 1,
    ) -> Delivery:
        if attempt < 1:
            raise ConfigurationError(f"Attempts count from 1; there is no attempt {attempt}.")
        submission = prepare(
            definition,
            message,
            headers=headers,
            max_message_bytes=self._config.max_message_bytes,
            sealing=self._config.sealing,
        )
        return Delivery(
            queue=definition.queue,
            job_id=submission.job_id,
            holder="tester",
            sequence=sequence,
            token="",
            envelope=submission.envelope,
            published_ms=to_milliseconds(self._clock.now()),
            attempt=attempt,
        )

    async def drain(
        self, duration: timedelta, overrides: Overrides | None, limit: int, *, schedules: bool
    ) -> RunReport:
        """Run what is due until nothing is any more before ``duration`` is over.

        With ``schedules``, these make their jobs meanwhile.
        """
        self.check_open()
        runs: list[JobRun] = []
        self._reported.append(runs)
        end = self._clock.now() + duration
        outer, self._overrides = self._overrides, overrides
        try:
            async with self._runner() as runner:
                while True:
                    next_tick = await self._ticker.look() if schedules else None
                    await self._pass_on(definition.queue for definition in self._definitions)
                    while ended := await runner.run_next():
                        self._note(ended)
                        await self._pass_on({run.queue for run in ended})
                        if len(runs) > limit:
                            raise EndlessRunError(limit, self._report(runs, runner))
                    due = min(filter(None, (runner.next_due_at, next_tick)), default=None)
                    if due is None or due > end:
                        break
                    self._clock.advance_to(due)
                if self._clock.now() < end:
                    self._clock.advance_to(end)
                return self._report(runs, runner)
        finally:
            self._overrides = outer
            # By identity: lists are equal when their runs are.
            self._reported = [other for other in self._reported if other is not runs]

    def block(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine from a thread without a loop, in the lifespan's loop if there is one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise ConfigurationError(
                "This would hold up the event loop it is called in: in an `async def` test, await "
                "the method of the same name without `_blocking`."
            )
        for loop, _ in reversed(self._dispatcher.lifespans):
            if loop.is_running():
                return asyncio.run_coroutine_threadsafe(make(), loop).result()
        # Given a factory, the runner leaves this thread's own event loop alone.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(make())

    def check_open(self) -> None:
        """Refuse to work for a tester that was not entered, or was left."""
        if not self.is_open:
            raise NotRunningError(
                "The tester is not at work: use it as `with RedispatcherTester(dispatcher) as "
                "tester:`, or take the fixture `redispatcher_tester`."
            )

    async def _run_next(self) -> bool:
        """Run one job or batch on behalf of somebody who waits for a result."""
        async with self._runner() as runner:
            ended = await runner.run_next()
        self._note(ended)
        await self._pass_on({run.queue for run in ended})
        return bool(ended)

    async def _pass_on(self, queues: Iterable[str]) -> None:
        """Publish what follows from jobs of these queues that have ended."""
        for queue in queues:
            await self._passing.pass_on(queue)

    def _note(self, ended: Sequence[JobRun]) -> None:
        for runs in (self.runs, *self._reported):
            runs.extend(ended)

    def _runner(self) -> Runner:
        injector = self._injector(self._overrides)
        return Runner(
            self.broker,
            self._clock,
            self._definitions,
            injector,
            self._schedule,
            self._config,
            self._dispatcher.middleware,
        )

    def _injector(self, overrides: Overrides | None) -> Injector:
        apps = [self._app, *(app for _, app in self._dispatcher.lifespans)]
        app = next((app for app in apps if app is not None), None)
        return Injector(app, {**self.state, STATE_KEY: self._dispatcher}, overrides=overrides)

    def _report(self, runs: Sequence[JobRun], runner: Runner) -> RunReport:
        known = {definition.queue for definition in self._definitions}
        unclaimed: dict[str, int] = {}
        for queue in sorted({job.queue for job in self.client.publications} - known):
            counts = complete(self.broker.count_jobs(queue))
            if waiting := sum(counts[state] for state in _WAITING):
                unclaimed[queue] = waiting
        return RunReport(tuple(runs), runner.next_due_at, unclaimed)


def _raise_stuck(ended: EndedJob, error: Exception) -> None:
    """Let a test fail of which a flow could not go on."""
    raise error
