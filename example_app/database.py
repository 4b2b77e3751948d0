"""What is kept in SQLite; endpoints and consumers use the same ``get_session``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from functools import cache

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from example_app.settings import get_settings
from redispatcher_fastapi import Outbox


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


class Picture(Base):
    __tablename__ = "pictures"

    id: Mapped[str] = mapped_column(primary_key=True)
    #: Of its thumbnails, with commas between them.
    sizes: Mapped[str]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    partner: Mapped[str]
    #: What the partner answered, once it did.
    answer: Mapped[str | None]


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    #: The index.
    words: Mapped[str | None]


@cache
def get_engine() -> AsyncEngine:
    """Return the engine of this process; SQLite files are opened afresh for each session."""
    return create_async_engine(get_settings().database_url, poolclass=NullPool)


@cache
def make_outbox() -> Outbox:
    """Return where messages are kept that belong to a transaction; its table is one of ours."""
    return Outbox(get_engine(), metadata=Base.metadata)


async def create_tables() -> None:
    """Create what is missing; a real service would migrate."""
    get_settings().data_dir.mkdir(parents=True, exist_ok=True)
    make_outbox()
    async with get_engine().begin() as connection:
        # Not create_all(): it looks first, then creates, and the API and its pools start together.
        for table in Base.metadata.sorted_tables:
            await connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                await connection.execute(CreateIndex(index, if_not_exists=True))


async def get_session() -> AsyncGenerator[AsyncSession]:
    """Provide a session for one request, or for one attempt of a job."""
    async with AsyncSession(get_engine(), expire_on_commit=False) as session:
        yield session


async def find_or_add_user(session: AsyncSession, *, email: str, name: str) -> User:
    """Return the user with this address, a new one if there was none."""
    # One statement, so that two requests at the same moment cannot both add one.
    await session.execute(insert(User).values(email=email, name=name).on_conflict_do_nothing())
    return (await session.scalars(select(User).where(User.email == email))).one()


async def count_sign_ups(session: AsyncSession, *, since: datetime, until: datetime) -> int:
    """Return how many users signed up from ``since`` on and before ``until``."""
    signed_up = (User.signed_up_at >= since) & (User.signed_up_at < until)
    return (await session.scalars(select(func.count()).where(signed_up))).one()


async def note_picture(session: AsyncSession, picture: str, *, sizes: list[int]) -> None:
    """Store which thumbnails a picture has; noted again, the last sizes count."""
    await session.merge(Picture(id=picture, sizes=",".join(map(str, sizes))))


async def add_order(session: AsyncSession, order: int, *, partner: str) -> None:
    """Add an order, unless there is one of this number."""
    await session.execute(insert(Order).values(id=order, partner=partner).on_conflict_do_nothing())


async def write_note(session: AsyncSession, note: int, *, text: str) -> None:
    """Store the text of a note; what was indexed of another text stays until it is indexed."""
    statement = insert(Note).values(id=note, text=text)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[Note.id], set_={"text": text})
    )
