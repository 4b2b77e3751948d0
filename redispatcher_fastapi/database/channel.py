"""What a transaction of a database does for messages, whichever way they take to Redis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    from redispatcher_fastapi.broker.types import Submission

    #: Whatever has a transaction that messages can wait for.
    AnySession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]


@dataclass(slots=True)
class Fate:
    """What became of the transaction that a message waits for."""

    is_open: bool = True
    is_committed: bool = False

    def end(self, *, is_committed: bool) -> None:
        self.is_open, self.is_committed = False, is_committed


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message that waits for a commit."""

    queue: str
    submission: Submission
    fate: Fate = field(default_factory=Fate, compare=False)


class Channel(Protocol):
    """One way to Redis; equal for messages that go together."""

    def write(self, session: Session, unit: str, messages: Sequence[Waiting]) -> None:
        """Do what belongs into the transaction, which ``unit`` identifies; may be called again."""

    def release(self, messages: Sequence[Waiting]) -> None:
        """Do what comes after the commit; never raises, for nothing can be undone any more."""
