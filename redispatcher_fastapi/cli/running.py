"""Runs the pool of a target in this process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Never

from fastapi import FastAPI

from redispatcher_fastapi.cli.announcing import announce
from redispatcher_fastapi.cli.target import Target, TargetError, load_target
from redispatcher_fastapi.describing import log_exception
from redispatcher_fastapi.dispatcher import (
    NoDispatcherError,
    Redispatcher,
    app_lifespan,
    standalone,
)
from redispatcher_fastapi.errors import (
    ConfigurationError,
    ConsumerDefinitionError,
    RedispatcherError,
    RequestOnlyDependencyError,
)
from redispatcher_fastapi.injection import Injector
from redispatcher_fastapi.pool import ConsumerPool
from redispatcher_fastapi.pool.process import EXIT_CONFIGURATION, StopSignals, run_with_signals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import FrameType

    from redispatcher_fastapi.cli.options import PoolOptions
    from redispatcher_fastapi.config import RedispatcherConfig

logger = logging.getLogger("redispatcher.pool")

EXIT_FAILED = 1
EXIT_USAGE = 2

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

#: Changed code should run soon, and what it interrupts is handed back.
_GRACE_WHEN_RELOADED = timedelta(seconds=1)


class StartUpError(RedispatcherError):
    """Raised when an application's lifespan did not start; the cause says why."""


def run_pool(options: PoolOptions, *, version: str) -> None:
    """Run the pool of a target until it is told to stop.

    Raises:
        SystemExit: with 1, 2 or 78, see ``redispatcher pool --help``; the reason is logged.
    """
    with _ending_on_signals():
        target = _load(options)
        options.configure_logging()
        try:
            run_with_signals(lambda signals: _run(target, options, signals, version=version))
        except NoDispatcherError as error:
            logger.critical("%s", error)
            raise SystemExit(EXIT_USAGE) from error
        except StartUpError as error:
            log_exception(logger, error.__cause__ or error, "%s", error, level=logging.CRITICAL)
            raise SystemExit(EXIT_FAILED) from error
        except Exception as error:
            log_exception(logger, error, "The pool ended with an error.", level=logging.CRITICAL)
            raise SystemExit(EXIT_FAILED) from error


def _load(options: PoolOptions) -> Target:
    try:
        return load_target(options.target)
    except TargetError as error:
        options.configure_logging()
        if error.__cause__ is None:
            logger.critical("%s", error)
        else:
            log_exception(logger, error.__cause__, "%s", error, level=logging.CRITICAL)
        raise SystemExit(EXIT_USAGE) from error
    except ConfigurationError as error:
        options.configure_logging()
        logger.critical("The pool cannot run: %s", error)
        raise SystemExit(EXIT_CONFIGURATION) from error


async def _run(target: Target, options: PoolOptions, signals: StopSignals, *, version: str) -> None:
    async with _opened(target) as (dispatcher, config, injector):
        if options.is_reloaded:
            grace_period = min(config.grace_period, _GRACE_WHEN_RELOADED)
            config = config.model_copy(update={"grace_period": grace_period})
        pool = ConsumerPool(
            config,
            queues=options.queues or None,
            injector=injector,
            hooks=None if dispatcher is None else dispatcher.hooks,
            middleware=() if dispatcher is None else dispatcher.middleware,
        )
        if dispatcher is not None:
            dispatcher.adopt_pool(pool)
        await announce(config, pool.slots, options, version=version)
        with _stopping_without_parent(options, signals):
            await signals.run_pool(pool, burst=options.burst)


@asynccontextmanager
async def _opened(
    target: Target,
) -> AsyncGenerator[tuple[Redispatcher | None, RedispatcherConfig, Injector | None], None]:
    """Enter the lifespan of a target that has one."""
    match target:
        case FastAPI():
            lifespan = app_lifespan(target)
            try:
                dispatcher, state = await lifespan.__aenter__()
            except (
                NoDispatcherError,
                ConfigurationError,
                ConsumerDefinitionError,
                RequestOnlyDependencyError,
            ):
                raise
            except Exception as error:
                raise StartUpError(f"The application {target.title!r} did not start.") from error
            try:
                yield dispatcher, dispatcher.config, Injector(target, state)
            finally:
                # As a server would: the lifespan ends in its usual way, whatever the pool met with.
                await lifespan.__aexit__(None, None, None)
        case Redispatcher():
            with standalone():
                async with target.lifespan() as state:
                    yield target, target.config, Injector(None, state)
        case _:
            yield None, target, None


class _StoppedError(BaseException):
    """Raised by a signal that comes before there is an event loop to receive it."""


@contextmanager
def _ending_on_signals() -> Generator[None, None, None]:
    """End quietly on a signal during an import: nothing has begun that would have to be finished.

    It takes handlers of our own because the first process of a container gets no default ones.
    Once all is done the process is leaving anyway, and one more signal must not change its code.
    """

    def end(number: int, frame: FrameType | None) -> Never:
        raise _StoppedError

    for number in _SIGNALS:
        signal.signal(number, end)
    try:
        yield
    except _StoppedError:
        sys.exit(0)
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _stopping_without_parent(
    options: PoolOptions, signals: StopSignals
) -> Generator[None, None, None]:
    """Stop gracefully once the parent that would pass signals on is gone: its pipe ends then."""
    if options.number is None:
        yield
        return
    loop = asyncio.get_running_loop()
    pipe = sys.stdin.fileno()

    def read() -> None:
        if not os.read(pipe, 1):
            loop.remove_reader(pipe)
            logger.warning("The parent process is gone.")
            signals.stop()

    loop.add_reader(pipe, read)
    try:
        yield
    finally:
        loop.remove_reader(pipe)
