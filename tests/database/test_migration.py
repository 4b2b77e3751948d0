"""The migration in docs/database.md makes the table that the outbox needs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Index, MetaData, Table, create_engine
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from redispatcher_fastapi import Outbox
from tests.database.shop import Database

PAGE = Path(__file__).parents[2] / "docs" / "database.md"


class Operations(ModuleType):
    """Stands in for ``alembic.op``, and keeps what a migration makes."""

    def __init__(self) -> None:
        super().__init__("op")
        self.metadata = MetaData()

    def create_table(self, name: str, *columns: Any) -> None:
        Table(name, self.metadata, *columns)

    def create_index(self, name: str, table: str, columns: list[str]) -> None:
        Index(name, *(self.metadata.tables[table].c[column] for column in columns))


def migrate(monkeypatch: pytest.MonkeyPatch) -> Table:
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    alembic, operations = ModuleType("alembic"), Operations()
    setattr(alembic, "op", operations)  # noqa: B010  # a module has no such attribute
    monkeypatch.setitem(sys.modules, "alembic", alembic)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    namespace["upgrade"]()
    return operations.metadata.tables["redispatcher_outbox"]


def test_the_migration_makes_the_table(
    monkeypatch: pytest.MonkeyPatch, sqlite_database: Database
) -> None:
    made, needed = migrate(monkeypatch), Outbox(sqlite_database.engine()).table

    dialect = create_engine("postgresql+psycopg://").dialect
    assert str(CreateTable(made).compile(dialect=dialect)) == str(
        CreateTable(needed).compile(dialect=dialect)
    )
    assert [str(CreateIndex(index).compile(dialect=dialect)) for index in made.indexes] == [
        str(CreateIndex(index).compile(dialect=dialect)) for index in needed.indexes
    ]


def test_each_database_gets_types_that_hold_a_message(sqlite_database: Database) -> None:
    table = Outbox(sqlite_database.engine(), schema="jobs").table

    in_mysql = str(CreateTable(table).compile(dialect=mysql.dialect()))
    in_sqlite = str(CreateTable(table).compile(dialect=sqlite.dialect()))

    assert "envelope LONGBLOB NOT NULL" in in_mysql
    assert "position BIGINT NOT NULL AUTO_INCREMENT" in in_mysql
    assert "position INTEGER NOT NULL" in in_sqlite
    assert "CREATE TABLE jobs.redispatcher_outbox" in in_mysql


def test_the_table_is_among_those_of_the_application_before_anything_is_started(
    sqlite_database: Database,
) -> None:
    metadata = MetaData()

    first = Outbox(sqlite_database.engine(), metadata=metadata)
    second = Outbox(sqlite_database.engine(), metadata=metadata)

    assert list(metadata.tables) == ["redispatcher_outbox"]
    assert first.table is second.table
