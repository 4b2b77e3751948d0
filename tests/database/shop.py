"""An application with a database and two consumers, for the tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from redispatcher_fastapi import BaseConsumer, Outbox, Redispatcher, RedispatcherConfig
from redispatcher_fastapi.hooks import PoolHooks
from tests.databases import PostgresServer


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str | None]


class Ship(BaseConsumer):
    QUEUE = "ship"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message) -> int:
        return message.number


class Bill(BaseConsumer):
    QUEUE = "bill"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message) -> int:
        return message.number


@dataclass(frozen=True)
class Database:
    """Where a database is, for synchronous and for asynchronous engines."""

    sync_url: str
    async_url: str

    @classmethod
    def on(cls, server: PostgresServer) -> Database:
        """Return the one of a server."""
        return cls(server.url("psycopg"), server.url("asyncpg"))

    @classmethod
    def in_file(cls, place: Path) -> Database:
        """Return the one in a file of SQLite."""
        return cls(f"sqlite:///{place}", f"sqlite+aiosqlite:///{place}")

    def engine(self) -> Engine:
        """Return a synchronous engine, which keeps no connection."""
        return create_engine(self.sync_url, poolclass=NullPool)

    def async_engine(self) -> AsyncEngine:
        """Return an asynchronous engine, which keeps no connection."""
        return create_async_engine(self.async_url, poolclass=NullPool)

    @contextmanager
    def tables(self) -> Generator[None]:
        """Create the tables, and drop them again."""
        engine = self.engine()
        outbox = Outbox(engine)
        Base.metadata.create_all(engine)
        outbox.metadata.create_all(engine)
        try:
            yield
        finally:
            outbox.metadata.drop_all(engine)
            Base.metadata.drop_all(engine)

    def rows(self) -> list[Any]:
        """Return what is in the outbox."""
        engine = self.engine()
        table = Outbox(engine).table
        with engine.connect() as connection:
            return list(connection.execute(select(table).order_by(table.c.position)))

    def count_orders(self) -> int:
        """Return how many orders are committed."""
        with Session(self.engine()) as session:
            return session.scalar(select(func.count()).select_from(Order)) or 0


@asynccontextmanager
async def running_shop(
    database: Database,
    *,
    redis_dsn: str = "memory://",
    run_pool: bool = False,
    has_outbox: bool = True,
    hooks: PoolHooks | None = None,
    **options: Any,
) -> AsyncGenerator[Redispatcher, None]:
    """Run a dispatcher whose outbox, if it has one, is in the database."""
    outbox = Outbox(database.async_engine()) if has_outbox else None
    config = RedispatcherConfig(
        redis_dsn=redis_dsn, consumers=[Ship, Bill], outbox=outbox, **options
    )
    dispatcher = Redispatcher(config, run_pool=run_pool, hooks=hooks)
    async with dispatcher.lifespan():
        yield dispatcher


Change = Callable[[Session], None]


class Sessions:
    """Does the same with a synchronous session in a thread and with an asynchronous one."""

    def __init__(self, database: Database, *, is_async: bool) -> None:
        self._database = database
        self._is_async = is_async

    async def run(self, *steps: Change, **options: Any) -> None:
        """Run steps, each in the session's own way, and close the session."""
        async with AsyncExitStack() as stack:
            if self._is_async:
                session = await stack.enter_async_context(
                    AsyncSession(self._database.async_engine(), **options)
                )
                for step in steps:
                    await session.run_sync(step)
            else:
                await asyncio.to_thread(self._run_sync, steps, options)

    def _run_sync(self, steps: tuple[Change, ...], options: dict[str, Any]) -> None:
        with Session(self._database.engine(), **options) as session:
            for step in steps:
                step(session)
