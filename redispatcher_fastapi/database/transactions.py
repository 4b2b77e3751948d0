"""Keeps messages until the transaction of a session ends, and drops those that were rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.errors import ConfigurationError, NoTransactionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import SessionTransaction

    from redispatcher_fastapi.database.channel import Channel, Waiting


@dataclass(slots=True)
class _Entry:
    channel: Channel
    message: Waiting
    #: The transaction or savepoint whose end decides whether what was written stays.
    written_in: SessionTransaction | None = None


_KEY = "redispatcher_fastapi.transactions"


class Transactions:
    """What waits for the transactions of one session, savepoints included.

    It lives in ``session.info`` and listens to that session alone, so that both are gone together.
    Nothing is left of a transaction once it has ended.
    """

    def __init__(self, session: Session) -> None:
        self._waiting: dict[SessionTransaction, list[_Entry]] = {}
        self._committed: set[SessionTransaction] = set()
        #: Identifies the outermost transaction, once something was written in it.
        self._unit = ""
        # Unless told otherwise: this may have been made by an event of the commit's own flush.
        self._is_committing = True
        self._releasing: SessionTransaction | None = None
        event.listen(session, "before_commit", self._begin_commit)
        event.listen(session, "after_flush", self._write_late)
        event.listen(session, "after_commit", self._note_commit)
        event.listen(session, "after_transaction_end", self._end)

    @classmethod
    def of(cls, session: Session) -> Transactions:
        """Return those of a session."""
        found = session.info.get(_KEY)
        if isinstance(found, cls):
            return found
        made = session.info[_KEY] = cls(session)
        return made

    def add(self, session: Session, channel: Channel, message: Waiting) -> None:
        """Let a message wait for the transaction or savepoint that the session is in.

        Raises:
            NoTransactionError: it is in none and begins none by itself, or that one is over.
        """
        current = _current(session)
        if current is None:
            if not session.autobegin:
                raise NoTransactionError(
                    "The session is in no transaction that the message could be part of: begin one "
                    "first, as in `with session.begin():`."
                )
            current = session.begin()
        if current in self._committed:
            raise NoTransactionError(
                "The transaction of this session is committed already, and the message cannot be "
                "part of it any more: publish before the commit."
            )
        self._waiting.setdefault(current, []).append(_Entry(channel, message))

    def _begin_commit(self, session: Session) -> None:
        """Write when the outermost transaction commits; a savepoint might be taken back later.

        A transaction that commits in the midst of a savepoint says so twice, first for itself.
        """
        savepoint = session.get_nested_transaction()
        self._is_committing = savepoint is None or savepoint is self._releasing
        if self._is_committing:
            self._write(session)
        self._releasing = savepoint

    def _write_late(self, session: Session, flush_context: Any) -> None:
        """Write what was published while the commit flushed, as by an event of a mapper."""
        if self._is_committing:
            self._write(session)

    def _write(self, session: Session) -> None:
        """Write what waits, also for the transactions around a savepoint."""
        current = _current(session)
        new = [each for each in self._entries() if each.written_in is None]
        if current is None or not new:
            return
        self._unit = self._unit or new_job_id()
        for channel, messages in _grouped(new).items():
            channel.write(session, self._unit, messages)
        for entry in new:
            entry.written_in = current

    def _note_commit(self, session: Session) -> None:
        current = _current(session)
        if current is not None:
            self._committed.add(current)

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        own = self._waiting.pop(transaction, [])
        is_committed = transaction in self._committed
        self._committed.discard(transaction)
        self._releasing = None
        if transaction.parent is None or not is_committed:
            for entry in own:
                entry.message.fate.end(is_committed=is_committed)
        if transaction.parent is None:
            self._unit, self._is_committing = "", False
            if is_committed:
                for channel, messages in _grouped(own).items():
                    channel.release(messages)
            return
        outer = _current(session) if is_committed else None
        if outer is not None and own:
            self._waiting.setdefault(outer, []).extend(own)
        for entry in self._entries():
            if entry.written_in is transaction:
                entry.written_in = outer

    def _entries(self) -> Iterator[_Entry]:
        """Go through all that waits, from the outermost transaction inwards."""
        return chain.from_iterable(self._waiting.values())


def session_of(session: object) -> Session:
    """Return the session that has the transaction, behind an asynchronous or a scoped one.

    Raises:
        ConfigurationError: it is something else.
    """
    found: object = session
    if isinstance(session, (scoped_session, async_scoped_session)):
        found = cast("Callable[[], object]", session)()
    if isinstance(found, AsyncSession):
        found = found.sync_session
    if not isinstance(found, Session):
        raise ConfigurationError(
            "Publishing with a transaction needs a Session or an AsyncSession of SQLAlchemy, not "
            f"{type(found).__qualname__}."
        )
    return found


def _current(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _grouped(entries: Sequence[_Entry]) -> dict[Channel, list[Waiting]]:
    """Group messages by channel, in the order in which they were published."""
    groups: dict[Channel, list[Waiting]] = {}
    for entry in entries:
        groups.setdefault(entry.channel, []).append(entry.message)
    return groups
