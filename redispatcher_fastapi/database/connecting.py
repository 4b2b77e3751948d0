"""Works with a connection of an engine of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

T = TypeVar("T")


async def in_connection(engine: Engine | AsyncEngine, work: Callable[[Connection], T]) -> T:
    """Return what ``work`` returns, which runs in a thread where the engine is synchronous.

    A transaction that it leaves open is rolled back. A database that hangs does not hold up who is
    cancelled here.
    """
    if isinstance(engine, AsyncEngine):
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    return await to_thread.run_sync(_connect, engine, work, abandon_on_cancel=True)


def _connect(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return work(connection)
