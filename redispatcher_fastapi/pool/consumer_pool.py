"""The pool as its users see it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from redispatcher_fastapi.batch_execution import BatchExecution
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.rights import check_rights
from redispatcher_fastapi.broker.sending import Sender
from redispatcher_fastapi.broker.server_check import check_server
from redispatcher_fastapi.database import relaying
from redispatcher_fastapi.errors import (
    BrokerAccessError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
)
from redispatcher_fastapi.execution import Execution
from redispatcher_fastapi.hooks import GuardedHooks, LoggingHooks, check_hooks
from redispatcher_fastapi.injection import Injector
from redispatcher_fastapi.middleware import check_middleware
from redispatcher_fastapi.pool.batching import BatchLane
from redispatcher_fastapi.pool.contact import Contact
from redispatcher_fastapi.pool.health import PoolHealth, PoolState, QueueHealth
from redispatcher_fastapi.pool.lanes import Lane
from redispatcher_fastapi.pool.process import run_process
from redispatcher_fastapi.pool.worker import Worker
from redispatcher_fastapi.publisher import STATE_KEY, Publishers
from redispatcher_fastapi.scheduling import timetables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi.config import ConsumerConfig, RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.middleware import Middleware

logger = logging.getLogger("redispatcher.pool")


class ConsumerPool:
    """Runs the consumers of a configuration in this process; used once.

    ``queues`` narrows them down to some. ``injector`` provides what consumers depend on, ``broker``
    the connections; without them the pool makes its own, and dependencies that need an app are
    refused.
    """

    def __init__(
        self,
        config: RedispatcherConfig,
        *,
        queues: Sequence[str] | None = None,
        injector: Injector | None = None,
        broker: Broker | None = None,
        hooks: PoolHooks | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        """Check everything that can be checked before connecting.

        Raises:
            ConfigurationError: a queue in ``queues`` has no consumer, there are no consumers at
                all, or something in ``hooks`` or ``middleware`` is none.
            RequestOnlyDependencyError: a consumer depends on something only a request has.
        """
        self._config = config
        self._broker = broker
        self._hooks = check_hooks(hooks) or LoggingHooks()
        self._injector = injector
        self._middleware = check_middleware(middleware)
        slots = {each.definition: _count(each, config.concurrency) for each in config.consumers}
        self._limits = {each.definition.queue: each.rules.text for each in config.consumers}
        self._weights = {each.definition.queue: each.weight for each in config.consumers}
        known = {definition.queue for definition in slots}
        for queue in queues or ():
            if queue not in known:
                raise ConfigurationError(
                    f"No consumer of this configuration takes queue {queue!r}; it has: "
                    f"{', '.join(sorted(known)) or 'none'}."
                )
        self._slots = {
            definition: count
            for definition, count in slots.items()
            if queues is None or definition.queue in queues
        }
        if not self._slots:
            raise ConfigurationError(
                "There is nothing to run: list your consumers in "
                "RedispatcherConfig(consumers=[...])."
            )
        self._timetables = [
            timetable
            for timetable in timetables_of(config)
            if timetable.queue in {definition.queue for definition in self._slots}
        ]
        self._contact = Contact([each.queue for each in self._slots], GuardedHooks(self._hooks))
        self._worker: Worker | None = None
        self._is_draining = False
        self._is_stopping = False
        self._is_stopping_now = False
        self._stopped = asyncio.Event()

    @property
    def slots(self) -> dict[str, int]:
        """How many jobs of each queue run at once in this process, at most."""
        return {
            definition.queue: count * (1 if definition.batch is None else definition.batch.size)
            for definition, count in self._slots.items()
        }

    @property
    def running(self) -> int:
        """How many jobs run in this process now."""
        return 0 if self._worker is None else self._worker.running

    @property
    def state(self) -> PoolState:
        """Where the pool is in its life; any thread may ask."""
        if self._stopped.is_set():
            return PoolState.STOPPED
        if self._is_stopping:
            return PoolState.STOPPING
        if self._is_draining:
            return PoolState.DRAINING
        return PoolState.STARTING if self._worker is None else PoolState.RUNNING

    @property
    def health(self) -> PoolHealth:
        """How the pool does; cheap, and any thread may ask."""
        worker = self._worker
        return PoolHealth(
            state=self.state,
            lease=self._config.lease,
            running=self.running,
            loop_lag=None if worker is None or self._stopped.is_set() else worker.loop_lag,
            queues=self._unclaimed_queues() if worker is None else worker.queue_health(),
        )

    def start(self, *, burst: bool = False) -> None:
        """Run until SIGTERM or SIGINT, stop gracefully and return; a second one stops at once.

        SIGUSR1 drains, see :meth:`drain`.

        Raises:
            SystemExit: with code 78 when Redis refuses the credentials or a command, or the
            configuration
                cannot work; the reason is logged.
        """
        run_process(self, burst=burst)

    async def run(self, *, burst: bool = False) -> None:
        """Run until :meth:`stop` or :meth:`drain`; installs no signal handlers.

        Redis being away, at the start too, is waited out. With ``burst``, return once nothing is
        left that could run now.

        Raises:
            BrokerAccessError: Redis refuses the credentials or a command.
            ConfigurationError: the server cannot be used, or (``OutboxTableError``) the database
                lacks the table of the outbox.
        """
        try:
            async with AsyncExitStack() as stack:
                broker = self._broker or await self._connect(stack)
                if broker is None:
                    return
                injector = self._injector or await self._make_injector(broker, stack)
                self._worker = Worker(
                    broker,
                    self._make_lanes(injector),
                    self._hooks,
                    self._timetables,
                    concurrency=self._config.concurrency,
                    sealing=self._config.sealing,
                )
                self._pass_on_stop()
                hooks = GuardedHooks(self._hooks)
                await stack.enter_async_context(
                    relaying(self._config.outbox, broker, hooks, drains=burst)
                )
                await self._worker.run(self._config.grace_period, burst=burst)
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Stop claiming, finish within the grace period, give back the rest, and return."""
        self.quiet()
        if self._worker is not None:
            await self._stopped.wait()

    async def drain(self) -> None:
        """Take no more jobs, finish those that run however long they take, and return.

        :meth:`stop` ends that within the grace period.
        """
        self.begin_drain()
        if self._worker is not None:
            await self._stopped.wait()

    def begin_drain(self) -> None:
        """Begin to :meth:`drain` without waiting for the end."""
        if self._worker is None:
            self.quiet()  # nothing runs yet
            return
        self._is_draining = True
        self._worker.drain()

    def quiet(self) -> None:
        """Begin a graceful stop without waiting for it."""
        self._is_stopping = True
        self._pass_on_stop()

    def stop_now(self) -> None:
        """Cancel what is running and give it back; :meth:`run` returns soon after."""
        self._is_stopping = self._is_stopping_now = True
        self._pass_on_stop()

    def _pass_on_stop(self) -> None:
        if self._is_stopping:
            self._contact.note_stop()
        if self._worker is None:
            return
        if self._is_stopping_now:
            self._worker.stop_now()
        elif self._is_stopping:
            self._worker.quiet()

    async def _connect(self, stack: AsyncExitStack) -> Broker | None:
        """Return a broker on a usable server; ``None`` when told to stop before there is one."""
        connections = await stack.enter_async_context(Connections(self._config.dsn))
        attempt = 0
        while not self._is_stopping:
            asked = time.monotonic()
            try:
                warnings = await check_server(connections)
                await check_rights(connections, self.slots)
            except BrokerUnavailableError as error:
                self._contact.failed("connect", error, after=time.monotonic() - asked)
                await asyncio.sleep(jittered_delay(attempt))
                attempt += 1
            except BrokerAccessError as error:
                raise BrokerAccessError(f"{error} Asked at {self._config.dsn}.") from error
            except BrokerError as error:
                raise ConfigurationError(
                    f"Redis at {self._config.dsn} cannot be used as configured: {error}"
                ) from error
            else:
                self._contact.answered("connect")
                for warning in warnings:
                    logger.warning(warning)
                return Broker(connections, self._config.engine_settings())
        return None

    def _unclaimed_queues(self) -> tuple[QueueHealth, ...]:
        return tuple(
            QueueHealth(
                queue=queue,
                slots=slots,
                running=0,
                can_claim=False,
                last_claim_at=None,
                since_last_claim=None,
                redis_latency=None,
                unanswered_for=self._contact.unanswered_for,
                reason=self._contact.problem,
                oldest_unacknowledged=None,
            )
            for queue, slots in self.slots.items()
        )

    async def _make_injector(self, broker: Broker, stack: AsyncExitStack) -> Injector:
        """Return what resolves dependencies without an app: consumers can still publish."""
        sender = await stack.enter_async_context(Sender(broker))
        publishers = Publishers(
            sender,
            max_message_bytes=self._config.max_message_bytes,
            sealing=self._config.sealing,
            middleware=self._middleware,
            hooks=self._hooks,
            outbox=self._config.outbox,
            own_queues=self._config.queues,
        )
        return Injector(None, {STATE_KEY: publishers})

    def _make_lanes(self, injector: Injector) -> list[Lane]:
        return [
            self._make_lane(definition, count, injector)
            for definition, count in self._slots.items()
        ]

    def _make_lane(self, definition: ConsumerDefinition, count: int, injector: Injector) -> Lane:
        make_execution = Execution if definition.batch is None else BatchExecution
        execution = make_execution(
            definition,
            max_message_bytes=self._config.max_message_bytes,
            max_result_bytes=self._config.max_result_bytes,
            sealing=self._config.sealing,
            dependencies=injector.plan(definition),
            threads=CapacityLimiter(count),
            middleware=self._middleware,
        )
        slots = self.slots[definition.queue]
        weight, limits = self._weights[definition.queue], self._limits[definition.queue]
        if isinstance(execution, BatchExecution):
            return BatchLane(execution, slots, weight, limits, batch_execution=execution)
        return Lane(execution, slots, weight, limits)


def _count(consumer: ConsumerConfig, concurrency: int | None) -> int:
    """Return how many jobs, or batches, of a consumer run at once."""
    if concurrency is None:
        return consumer.count
    batch = consumer.definition.batch
    return min(consumer.count, -(-concurrency // (1 if batch is None else batch.size)))
