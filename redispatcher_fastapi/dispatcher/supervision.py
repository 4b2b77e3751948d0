"""What runs beside an application, and must never end its lifespan."""

from __future__ import annotations

import logging
import random
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio

from redispatcher_fastapi.backoff import Exponential
from redispatcher_fastapi.broker.retrying import jittered_delay
from redispatcher_fastapi.broker.server_check import check_server
from redispatcher_fastapi.describing import log_exception
from redispatcher_fastapi.errors import BrokerUnavailableError, RedispatcherError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import TaskGroup

    from redispatcher_fastapi.backoff import Backoff
    from redispatcher_fastapi.broker.connection import Connections

logger = logging.getLogger("redispatcher.dispatcher")

_RESTART = Exponential(first=timedelta(milliseconds=250), max=timedelta(seconds=30))
#: After running this long, a crash is a new one and not the last one again.
_HEALTHY = timedelta(minutes=1)


class Pool(Protocol):
    """What is supervised; each one is run once."""

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


PoolT = TypeVar("PoolT", bound=Pool)


@asynccontextmanager
async def open_tasks() -> AsyncGenerator[TaskGroup, None]:
    """Provide a task group from which an exception of the body comes out as it is.

    For tasks that never fail: what the group would be raised for is the body's alone.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


@asynccontextmanager
async def watched_server(
    connections: Connections, *, confirmed_replicas: int = 0
) -> AsyncGenerator[None, None]:
    """Check the server meanwhile, and log what is wrong with it."""
    async with open_tasks() as tasks:
        tasks.start_soon(_report_server, connections, confirmed_replicas)
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def supervised_pool(
    make_pool: Callable[[], PoolT], *, stop_within: timedelta, restart: Backoff = _RESTART
) -> AsyncGenerator[Callable[[], PoolT], None]:
    """Run a pool meanwhile, and a new one whenever it crashes; stop it in an orderly way.

    Provides what returns the pool that runs, or the one that crashed last until there is a new one.
    A pool that cannot even be made is refused here, before anything starts.
    """
    supervisor = _Supervisor(make_pool, restart)
    async with open_tasks() as tasks:
        tasks.start_soon(supervisor.run)
        try:
            yield lambda: supervisor.pool
        finally:
            tasks.cancel_scope.deadline = anyio.current_time() + stop_within.total_seconds()
            await supervisor.stop()
    if tasks.cancel_scope.cancelled_caught:
        logger.error("The pool did not stop within %s; its jobs will be taken over.", stop_within)


class _Supervisor(Generic[PoolT]):
    def __init__(self, make_pool: Callable[[], PoolT], restart: Backoff) -> None:
        self._make_pool = make_pool
        self._restart = restart
        self.pool = make_pool()
        self._stopping = anyio.Event()

    async def run(self) -> None:
        crashes = 0
        while True:
            started = anyio.current_time()
            try:
                await self.pool.run()
                return
            except Exception as error:
                if self._stopping.is_set():
                    log_exception(logger, error, "The pool crashed while it stopped.")
                    return
                if anyio.current_time() - started > _HEALTHY.total_seconds():
                    crashes = 0
                crashes += 1
                delay = self._restart.delay(crashes, random.random).total_seconds()
                log_exception(
                    logger,
                    error,
                    "The pool crashed; the application serves on and starts a new one in %.1f s.",
                    delay,
                )
            with anyio.move_on_after(delay):
                await self._stopping.wait()
                return
            self.pool = self._make_pool()

    async def stop(self) -> None:
        self._stopping.set()
        await self.pool.stop()


async def _report_server(connections: Connections, confirmed_replicas: int) -> None:
    for attempt in count():
        try:
            warnings = await check_server(connections, confirmed_replicas=confirmed_replicas)
        except BrokerUnavailableError as error:
            if attempt == 0:
                logger.error(  # noqa: TRY400  # the traceback would tell no more
                    "Redis cannot be reached; the application serves, and publishing fails until "
                    "it is back: %s",
                    error,
                )
        except RedispatcherError as error:
            logger.error("Redis cannot be used, and publishing will fail: %s", error)  # noqa: TRY400
            return
        except Exception:
            logger.exception("Redis could not be checked.")
            return
        else:
            for warning in warnings:
                logger.warning("%s", warning)
            if attempt > 0:
                logger.info("Redis can be reached.")
            return
        await anyio.sleep(jittered_delay(attempt))
