"""Users in SQLite; endpoints and consumers use the same ``get_session``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from example_app.settings import get_settings


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    signed_up_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    #: Where the welcome mail went, once it did.
    welcome_mail: Mapped[str | None]


@cache
def get_engine() -> AsyncEngine:
    """Return the engine of this process; SQLite files are opened afresh for each session."""
    return create_async_engine(get_settings().database_url, poolclass=NullPool)


async def create_tables() -> None:
    """Create what is missing; a real service would migrate."""
    get_settings().data_dir.mkdir(parents=True, exist_ok=True)
    async with get_engine().begin() as connection:
        # Not create_all(): it looks first, then creates, and the API and its pools start together.
        for table in Base.metadata.sorted_tables:
            await connection.execute(CreateTable(table, if_not_exists=True))


async def get_session() -> AsyncGenerator[AsyncSession]:
    """Provide a session for one request, or for one attempt of a job."""
    async with AsyncSession(get_engine(), expire_on_commit=False) as session:
        yield session


async def find_or_add_user(session: AsyncSession, *, email: str, name: str) -> User:
    """Return the user with this address, a new one if there was none."""
    # One statement, so that two requests at the same moment cannot both add one.
    await session.execute(insert(User).values(email=email, name=name).on_conflict_do_nothing())
    return (await session.scalars(select(User).where(User.email == email))).one()
