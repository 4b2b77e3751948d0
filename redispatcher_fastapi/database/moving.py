"""Moves one batch of messages from the outbox to Redis, in one transaction of the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from anyio import from_thread
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from redispatcher_fastapi.broker.sending import PUBLISH_AGAIN
from redispatcher_fastapi.database.connecting import in_connection
from redispatcher_fastapi.database.queries import begin, fetch, locks_rows, settle
from redispatcher_fastapi.database.rows import RowError, decode_row
from redispatcher_fastapi.errors import PublishError, PublishUncertainError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from sqlalchemy import Connection

    from redispatcher_fastapi.broker.sending import DirectSender
    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.database.outbox import Outbox
    from redispatcher_fastapi.database.rows import Row

T = TypeVar("T")


@dataclass(slots=True)
class Moved:
    """What became of the messages of one batch.

    ``is_full`` is set where there may be more, ``is_waiting`` where another relay has what comes
    before. ``troubles`` says of queues why nothing more could be published.
    """

    done: list[Row] = field(default_factory=list["Row"])
    refused: list[tuple[Row, str]] = field(default_factory=list[tuple["Row", str]])
    troubles: dict[str, str] = field(default_factory=dict[str, str])
    is_full: bool = False
    is_waiting: bool = False


class Mover:
    """Moves batch after batch."""

    def __init__(self, outbox: Outbox, sender: DirectSender) -> None:
        self._outbox = outbox
        self._sender = sender

    async def move(self, *, except_queues: Collection[str], is_refused: bool = False) -> Moved:
        """Move a batch; raises whatever the database does, and then nothing was deleted."""
        engine = self._outbox.engine
        # Where the database does its work, an asynchronous call is only made through these.
        wait = await_only if isinstance(engine, AsyncEngine) else _wait_in_thread
        work = partial(
            _move,
            publish=lambda rows: wait(self._publish(rows)),
            outbox=self._outbox,
            except_queues=except_queues,
            is_refused=is_refused,
        )
        return await in_connection(engine, work)

    async def _publish(self, rows: list[Row]) -> Moved:
        moved = Moved()
        queues: dict[str, list[tuple[Row, Submission]]] = {}
        for row in rows:
            try:
                queues.setdefault(row.queue, []).append((row, decode_row(row)))
            except RowError as error:
                moved.refused.append((row, str(error)))
        await asyncio.gather(*(self._publish_to(*each, moved) for each in queues.items()))
        return moved

    async def _publish_to(
        self, queue: str, messages: list[tuple[Row, Submission]], moved: Moved
    ) -> None:
        submissions = [submission for _, submission in messages]
        try:
            answers = await self._sender.send_some(queue, submissions)
        except PublishError as error:
            moved.troubles[queue] = _explain(error)
            return
        for (row, _), answer in zip(messages, answers, strict=True):
            if isinstance(answer, PublishError):
                moved.troubles[queue] = _explain(answer)
            else:
                moved.done.append(row)


def _explain(error: PublishError) -> str:
    """Return what hinders a publish, without advice: it is repeated under the same ids anyway."""
    if isinstance(error, PublishUncertainError):
        return str(error.args[0]).removesuffix(PUBLISH_AGAIN).rstrip()
    return str(error)


def _move(
    connection: Connection,
    *,
    publish: Callable[[list[Row]], Moved],
    outbox: Outbox,
    except_queues: Collection[str],
    is_refused: bool,
) -> Moved:
    begin(connection)
    rows, is_waiting = fetch(
        connection,
        outbox.table,
        limit=outbox.batch,
        except_queues=except_queues,
        is_refused=is_refused,
    )
    if not rows:
        return Moved(is_waiting=is_waiting)
    if not locks_rows(connection):
        # Where a transaction keeps nobody from reading, it need not keep others from writing.
        connection.commit()
    moved = publish(rows)
    settle(
        connection,
        outbox.table,
        done=[row.position for row in moved.done],
        refused=[(row.position, reason) for row, reason in moved.refused],
    )
    connection.commit()
    moved.is_full = len(rows) == outbox.batch
    moved.is_waiting = is_waiting
    return moved


def _wait_in_thread(coroutine: Awaitable[T]) -> T:
    async def wait() -> T:
        return await coroutine

    return from_thread.run(wait)
