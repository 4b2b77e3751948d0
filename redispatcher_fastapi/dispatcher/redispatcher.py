"""The dispatcher: one object, one line in the application."""

from __future__ import annotations

import asyncio
import logging
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.sending import DirectSender, Sender
from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.database import check_outbox, relaying
from redispatcher_fastapi.dispatcher.standalone import is_standalone
from redispatcher_fastapi.dispatcher.supervision import supervised_pool, watched_server
from redispatcher_fastapi.errors import ConfigurationError, NotRunningError
from redispatcher_fastapi.hooks import GuardedHooks, LoggingHooks, check_hooks
from redispatcher_fastapi.injection import Injector
from redispatcher_fastapi.inspector import Inspector
from redispatcher_fastapi.middleware import check_middleware
from redispatcher_fastapi.pool import ConsumerPool, PoolHealth
from redispatcher_fastapi.publisher import STATE_KEY, C, Publisher, Publishers, not_running
from redispatcher_fastapi.scheduling import Schedules

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from fastapi import FastAPI

    from redispatcher_fastapi.broker.types import BackgroundSender
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.middleware import Middleware

logger = logging.getLogger("redispatcher.dispatcher")

#: What a pool may take beyond its grace period, to hand back what it could not finish.
_STOP_MARGIN = timedelta(seconds=12)


@dataclass(slots=True)
class _Running:
    """What there is while the lifespan of one application runs, in one event loop."""

    publishers: Publishers
    inspector: Inspector
    schedules: Schedules
    #: Returns the pool of this process, where there is one.
    pool: Callable[[], ConsumerPool] | None = None


class Redispatcher:
    """Gives an application its publishers, and runs the consumers inside it if told to.

    ``app.include_router(dispatcher.router)`` is all the wiring. With ``run_pool=True`` the
    consumers run in the application's own process, which suits development and small
    deployments; otherwise pools are processes of their own (``redispatcher pool module:app``).

    One dispatcher can serve several applications, and one application again and again: all
    that belongs to an event loop is made when a lifespan starts.
    """

    def __init__(
        self,
        config: RedispatcherConfig,
        *,
        run_pool: bool = False,
        hooks: PoolHooks | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        """``hooks`` are called by its pool, in the application or in ``redispatcher pool``.

        Without them the pool logs; derive yours from ``LoggingHooks`` to keep the log.
        ``middleware`` goes around every publish of its publishers and every run of its pool, the
        first of the list outermost.

        Raises:
            ConfigurationError: ``config`` is none, or something in ``hooks`` or ``middleware``.
        """
        if not isinstance(config, RedispatcherConfig):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user may give anything
            raise ConfigurationError(
                f"Redispatcher takes a RedispatcherConfig(consumers=[...]), not a "
                f"{type(config).__qualname__}."
            )
        self.config = config
        self.run_pool = run_pool
        self.hooks = check_hooks(hooks)
        self.middleware = check_middleware(middleware)
        #: Carries the lifespan and no routes.
        self.router = APIRouter(lifespan=self.lifespan)
        # Without a loop: the stand-in, which serves every loop that has no lifespan of its own.
        self._running: dict[tuple[asyncio.AbstractEventLoop | None, FastAPI | None], _Running] = {}
        self._stand_in: Broker | None = None

    def publisher(self, consumer: type[C]) -> Publisher[C]:
        """Return the publisher of any consumer, for code that is no endpoint.

        Raises:
            NotRunningError: no lifespan of this dispatcher is running in this event loop.
        """
        return self._find_running().publishers.publisher(consumer)

    @property
    def inspector(self) -> Inspector:
        """The inspector of the queues.

        Raises:
            NotRunningError: no lifespan of this dispatcher is running in this event loop.
        """
        return self._find_running().inspector

    @property
    def schedules(self) -> Schedules:
        """The schedules of the consumers: to make some at run time, and to look after all.

        Raises:
            NotRunningError: no lifespan of this dispatcher is running in this event loop.
        """
        return self._find_running().schedules

    @property
    def pool_health(self) -> PoolHealth | None:
        """How the pool of this process does; ``None`` where none runs.

        That is the pool inside the application, or in a process of ``redispatcher pool`` its own.
        It is cheap, and any thread may ask. A pool that crashed is ``stopped`` until there is a new
        one.
        """
        try:
            pool = self._find_running().pool
        except NotRunningError:
            return None
        return None if pool is None else pool().health

    def adopt_pool(self, pool: ConsumerPool) -> None:
        """Tell of ``pool`` from now on, which somebody else runs; ``redispatcher pool`` does.

        Raises:
            NotRunningError: no lifespan of this dispatcher is running in this event loop.
        """
        self._find_running().pool = lambda: pool

    @asynccontextmanager
    async def lifespan(self, app: FastAPI | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Run the dispatcher for an application, or for a program that has none.

        Redis need not be reachable. Entered again for the same application, as it happens when
        the router is included twice, it does nothing more.

        Raises:
            ConfigurationError: the application has another dispatcher, or nothing to run.
            RequestOnlyDependencyError: ``run_pool`` is set, and a consumer depends on something
                only an HTTP request has.
        """
        state: dict[str, Any] = {STATE_KEY: self}
        key = asyncio.get_running_loop(), app
        if key in self._running:
            yield state
            return
        async with AsyncExitStack() as stack:
            broker = self._stand_in
            if broker is None:
                self._warn_of_memory()
                connections = await stack.enter_async_context(Connections(self.config.dsn))
                broker = Broker(connections, self.config.engine_settings())
            sender = await stack.enter_async_context(Sender(broker))
            publishers = self._publishers(sender, has_outbox=self._stand_in is None)
            if app is not None:
                self._attach(app)
                stack.callback(self._detach, app)
            running = self._running[key] = _Running(
                publishers, self._inspector(broker), Schedules(broker, self.config)
            )
            # Removed last of all that uses it: the jobs of a pool that stops still publish.
            stack.callback(self._running.pop, key)
            # The pool of a process of its own checks the server itself.
            if self._stand_in is None and not is_standalone():
                await stack.enter_async_context(
                    watched_server(
                        broker.connections, confirmed_replicas=self.config.confirmed_replicas
                    )
                )
            if self._stand_in is None and not is_standalone():
                await self._follow_outbox(broker, stack)
            if self.run_pool and self._stand_in is None and not is_standalone():
                pool = self._pool(broker, Injector(app, state))
                running.pool = await stack.enter_async_context(pool)
            yield state

    @contextmanager
    def stand_in(self, broker: Broker, app: FastAPI | None = None) -> Generator[None, None, None]:
        """Publish to ``broker`` instead, and run no pool; ``redispatcher_fastapi.testing`` does.

        This holds for every lifespan that starts meanwhile. Without one, publishers work as well,
        those of the endpoints of ``app`` included; the broker's client must suit every loop.

        Raises:
            ConfigurationError: there is a stand-in already, or a lifespan is running.
        """
        if self._stand_in is not None:
            raise ConfigurationError(
                "This dispatcher has a stand-in for Redis already: use one RedispatcherTester at "
                "a time."
            )
        if self._running:
            raise ConfigurationError(
                "The lifespan of the application runs already, with the Redis of its "
                "configuration: enter RedispatcherTester first, and TestClient inside of it."
            )
        sender = DirectSender(
            broker.connections.publisher, settings=broker.settings, clock=broker.clock, store=broker
        )
        self._stand_in = broker
        self._running[None, app] = _Running(
            self._publishers(sender, has_outbox=False),
            self._inspector(broker),
            Schedules(broker, self.config),
        )
        try:
            if app is not None:
                self._attach(app)
            yield
        finally:
            self._stand_in = None
            del self._running[None, app]
            if app is not None:
                self._detach(app)

    def _warn_of_memory(self) -> None:
        if self.config.dsn.kind == "memory" and not self.run_pool and not is_standalone():
            logger.warning(
                "memory:// belongs to this process, and no pool runs in it: nobody will take its "
                "jobs. Set run_pool=True, or redis_dsn to a Redis that pools can reach, too."
            )

    def _inspector(self, broker: Broker) -> Inspector:
        limits = {each.definition.queue: each.rules.text for each in self.config.consumers}
        return Inspector(broker, limits)

    @property
    def lifespans(self) -> list[tuple[asyncio.AbstractEventLoop, FastAPI | None]]:
        """The event loops in which a lifespan runs now, and for which application."""
        return [(loop, app) for loop, app in [*self._running] if loop is not None]

    async def _follow_outbox(self, broker: Broker, stack: AsyncExitStack) -> None:
        """Refuse to start without the table, and move what this process commits.

        A pool looks by itself, whoever committed.
        """
        outbox = self.config.outbox
        if outbox is not None and self.run_pool:
            await check_outbox(outbox)
        else:
            hooks = GuardedHooks(self.hooks or LoggingHooks())
            await stack.enter_async_context(relaying(outbox, broker, hooks, polls=False))

    def _publishers(self, sender: BackgroundSender, *, has_outbox: bool) -> Publishers:
        publishers = Publishers(
            sender,
            max_message_bytes=self.config.max_message_bytes,
            sealing=self.config.sealing,
            middleware=self.middleware,
            hooks=self.hooks,
            outbox=self.config.outbox,
            own_queues=self.config.queues,
        )
        if self.config.outbox is not None and not has_outbox:
            # A test sees at its commit what a relay would move.
            publishers.outbox = publishers.after_commit
        return publishers

    def _pool(
        self, broker: Broker, injector: Injector
    ) -> AbstractAsyncContextManager[Callable[[], ConsumerPool]]:
        for consumer in self.config.consumers:
            # A mistake ends the start-up, and not each start of the pool.
            injector.plan(definition_of(consumer.consumer_class))
        return supervised_pool(
            lambda: ConsumerPool(
                self.config,
                injector=injector,
                broker=broker,
                hooks=self.hooks,
                middleware=self.middleware,
            ),
            stop_within=self.config.grace_period + _STOP_MARGIN,
        )

    def _attach(self, app: FastAPI) -> None:
        other = getattr(app.state, STATE_KEY, None)
        if isinstance(other, Redispatcher) and other is not self and other._runs(app):
            raise ConfigurationError(
                f"The application {app.title!r} includes the routers of two dispatchers, and "
                "`Publisher[...]` could not tell which one is meant: include one of them."
            )
        setattr(app.state, STATE_KEY, self)

    def _detach(self, app: FastAPI) -> None:
        if not self._runs(app) and getattr(app.state, STATE_KEY, None) is self:
            delattr(app.state, STATE_KEY)

    def _runs(self, app: FastAPI) -> bool:
        return any(other is app for _, other in [*self._running])

    def _find_running(self) -> _Running:
        running = [*self._running.items()]
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # A thread of the application, which hands coroutines to its loop.
            found = [each for _, each in running]
        else:
            if len(running) == 1 and running[0][0][0] is loop:  # as nearly always
                return running[0][1]
            found = [each for (other, _), each in running if other is loop]
            found = found or [each for (other, _), each in running if other is None]
        if not found:
            raise not_running()
        return found[-1]
