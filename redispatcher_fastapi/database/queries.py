"""What the relay asks of the database, on a connection that is synchronous or looks like one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, inspect, select, update
from sqlalchemy.exc import NoSuchTableError

from redispatcher_fastapi.database.rows import Row
from redispatcher_fastapi.errors import OutboxTableError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Table

_LONGEST_ERROR = 1000
# Since these releases they pass over rows that others have locked.
_SKIP_LOCKED = {
    "mariadb": (10, 6),
    "mysql": (8, 0, 1),
    "oracle": (0,),
    "postgresql": (9, 5),
}
_READ_COMMITTED = frozenset({"mariadb", "mysql", "postgresql"})


def check_table(connection: Connection, table: Table) -> None:
    """Compare the table in the database with what is needed.

    Raises:
        OutboxTableError: it is missing, or columns of it are.
    """
    try:
        found = {
            column["name"]
            for column in inspect(connection).get_columns(table.name, schema=table.schema)
        }
    except NoSuchTableError:
        found = set[str]()
    missing = [column.name for column in table.columns if column.name not in found]
    if not missing:
        return
    what = "has no table" if not found else f"lacks the columns {', '.join(missing)} of the table"
    raise OutboxTableError(
        f"The database of the outbox {what} {table.fullname!r}: create it by a migration, see "
        "docs/database.md, or with `outbox.metadata.create_all(...)`."
    )


def locks_rows(connection: Connection) -> bool:
    """Return whether the database keeps the rows that are read from other relays."""
    dialect = connection.dialect
    is_mariadb = getattr(dialect, "is_mariadb", False)
    since = _SKIP_LOCKED.get("mariadb" if is_mariadb else dialect.name)
    version = dialect.server_version_info or ()
    return since is not None and tuple(part for part in version if isinstance(part, int)) >= since


def begin(connection: Connection) -> None:
    """Begin a transaction in which each statement sees what is committed by then."""
    if connection.dialect.name in _READ_COMMITTED:
        connection.execution_options(isolation_level="READ COMMITTED")
    connection.begin()


def fetch(
    connection: Connection,
    table: Table,
    *,
    limit: int,
    except_queues: Collection[str],
    is_refused: bool,
) -> tuple[list[Row], bool]:
    """Return the oldest messages, and whether some were left because another relay has others.

    Of one transaction and one queue, none is taken before those that were published before it.
    With ``is_refused``, only those that could not be published so far.
    """
    columns = table.c
    query = select(
        columns.position,
        columns.unit,
        columns.queue,
        columns.job_id,
        columns.envelope,
        columns.options,
        columns.attempts,
    ).limit(limit)
    if is_refused:
        query = query.where(columns.error.is_not(None))
        query = query.order_by(columns.attempts, columns.position)
    else:
        query = query.where(columns.error.is_(None)).order_by(columns.position)
    if except_queues:
        query = query.where(columns.queue.not_in(except_queues))
    if locks_rows(connection):
        query = query.with_for_update(skip_locked=True)
    rows = [Row(*values) for values in connection.execute(query)]
    if is_refused or not rows:
        return rows, False
    first = select(columns.unit, columns.queue, func.min(columns.position))
    first = first.where(columns.unit.in_({row.unit for row in rows}), columns.error.is_(None))
    first = first.group_by(columns.unit, columns.queue)
    firsts = {(unit, queue): position for unit, queue, position in connection.execute(first)}
    # What is not there any more was published meanwhile, by the relay that had it.
    mine: dict[tuple[str, str], int] = {}
    for row in rows:
        mine.setdefault((row.unit, row.queue), row.position)
    turn = [
        row for row in rows if firsts.get((row.unit, row.queue), 0) >= mine[row.unit, row.queue]
    ]
    return turn, len(turn) < len(rows)


def settle(
    connection: Connection, table: Table, *, done: Sequence[int], refused: Sequence[tuple[int, str]]
) -> None:
    """Delete what is in Redis, and note why the rest cannot be."""
    if done:
        connection.execute(delete(table).where(table.c.position.in_(done)))
    for position, error in refused:
        connection.execute(
            update(table)
            .where(table.c.position == position)
            .values(error=error[:_LONGEST_ERROR], attempts=table.c.attempts + 1)
        )
