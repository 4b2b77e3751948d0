"""The table of an outbox."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.mysql import LONGBLOB


def make_table(name: str, metadata: MetaData, *, schema: str | None) -> Table:
    """Return the table; options that later releases add need no other columns.

    The order of ``position`` is that of publishing within one ``unit``, which stands for a
    transaction.
    """
    return Table(
        name,
        metadata,
        Column(
            "position",
            # SQLite counts up only what is an INTEGER.
            BigInteger().with_variant(Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        Column("unit", String(128), nullable=False),
        Column("queue", String(255), nullable=False),
        Column("job_id", String(128), nullable=False),
        Column(
            "envelope",
            LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb"),
            nullable=False,
        ),
        Column("options", Text(), nullable=False),
        Column("created_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
        Column("attempts", Integer(), server_default="0", nullable=False),
        Column("error", Text(), nullable=True),
        Index(f"ix_{name}_unit", "unit"),
        schema=schema,
    )
