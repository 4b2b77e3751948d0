"""Databases for the tests of this folder: SQLite in a file, and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.database.shop import Database
from tests.databases import PostgresServer, find_postgres
from tests.servers import skip_or_fail


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that all tests share; one that stops it takes one of its own."""
    require_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server for one test to stop and crash."""
    require_postgres()
    with PostgresServer() as server:
        yield server


def open_database(request: pytest.FixtureRequest, name: str, folder: Path) -> Database:
    """Return the database of a test, which has no tables yet."""
    if name == "postgresql":
        return Database.on(request.getfixturevalue("postgres"))
    return Database.in_file(folder / "shop.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with the tables of the shop."""
    database = open_database(request, request.param, tmp_path)
    with database.tables():
        yield database


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """An empty database of SQLite with the tables of the shop."""
    database = Database.in_file(tmp_path / "shop.db")
    with database.tables():
        yield database


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[Database]:
    """An empty database of PostgreSQL with the tables of the shop."""
    database = Database.on(postgres)
    with database.tables():
        yield database


def require_postgres() -> None:
    """Skip the test where no server can be started; fail it where one is promised."""
    if find_postgres() is None:
        skip_or_fail("PostgreSQL is not installed")
