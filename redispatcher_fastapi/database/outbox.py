"""``Outbox``: a table in the user's database that messages are written into."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.database.requirement import require_sqlalchemy
from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine, MetaData, Table
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from redispatcher_fastapi.database.channel import Waiting

_LONGEST_NAME = 48  # the index has a longer one, and PostgreSQL takes 63 characters
_LARGEST_BATCH = 1000


class Outbox:
    """A table beside those of the application, in which messages are committed with its data.

    ``RedispatcherConfig(outbox=Outbox(engine))``: a message that is published with
    ``publisher.in_transaction(session)`` is a row first, and a pool moves it to Redis once it is
    committed.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        *,
        table: str = "redispatcher_outbox",
        schema: str | None = None,
        metadata: MetaData | None = None,
        poll: timedelta = timedelta(seconds=1),
        batch: int = 100,
    ) -> None:
        """Describe the table; nothing is asked of the database yet.

        ``engine`` is what pools read it with, and stays the caller's. With ``metadata`` of the
        application, the table is among the others for ``create_all()`` and for Alembic. Pools look
        every ``poll``, and at once for what the same process commits; they move ``batch`` messages
        at a time.

        Raises:
            ConfigurationError: something of this cannot be used, or SQLAlchemy is missing.
        """
        require_sqlalchemy("Outbox")
        _check(engine, table, poll, batch)
        self.engine = engine
        self.poll = poll
        self.batch = batch
        self._name = table
        self._schema = schema
        self._metadata = metadata
        self._wakers: set[Callable[[], None]] = set()
        if metadata is not None:
            _ = self.table  # made now, before anybody creates or migrates what is in the metadata

    @cached_property
    def table(self) -> Table:
        """The table, for ``table.create(...)`` or for a look into it."""
        from sqlalchemy import MetaData

        from redispatcher_fastapi.database.tables import make_table

        metadata = MetaData() if self._metadata is None else self._metadata
        schema = self._schema or metadata.schema
        name = f"{schema}.{self._name}" if schema else self._name
        if name in metadata.tables:  # of another Outbox of the same application
            return metadata.tables[name]
        return make_table(self._name, metadata, schema=self._schema)

    @property
    def metadata(self) -> MetaData:
        """What the table belongs to, for ``metadata.create_all(...)``."""
        return self.table.metadata

    def write(self, session: Session, unit: str, messages: Sequence[Waiting]) -> None:
        """Insert messages in the transaction of a session."""
        from sqlalchemy import insert

        from redispatcher_fastapi.database.rows import encode_row

        statement = insert(self.table)
        rows = [encode_row(unit, message) for message in messages]
        session.connection(bind_arguments={"clause": statement}).execute(statement, rows)

    def release(self, messages: Sequence[Waiting]) -> None:
        """Wake whoever moves messages in this process."""
        for wake in [*self._wakers]:
            wake()

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called after each commit with messages, in whatever thread that is."""
        self._wakers.add(wake)

    def remove_waker(self, wake: Callable[[], None]) -> None:
        """Undo :meth:`add_waker`."""
        self._wakers.discard(wake)

    def __repr__(self) -> str:
        return f"Outbox(table={self._name!r})"


def _check(engine: Any, table: Any, poll: Any, batch: Any) -> None:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    if not isinstance(engine, (Engine, AsyncEngine)):
        raise ConfigurationError(
            "Outbox needs an Engine or an AsyncEngine of SQLAlchemy, not "
            f"{type(engine).__qualname__}."
        )
    if not isinstance(table, str) or not table.isidentifier() or len(table) > _LONGEST_NAME:
        raise ConfigurationError(
            f"Outbox cannot have a table named {table!r}: use up to {_LONGEST_NAME} letters, "
            "digits and underscores."
        )
    if not isinstance(poll, timedelta) or poll <= timedelta():
        raise ConfigurationError(f"The poll of an Outbox is a timedelta above zero, not {poll!r}.")
    if type(batch) is not int or not 1 <= batch <= _LARGEST_BATCH:
        raise ConfigurationError(
            f"The batch of an Outbox is a number from 1 to {_LARGEST_BATCH}, not {batch!r}."
        )
