"""PostgreSQL servers of the suite's own: each is a child process that only its owner stops."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.waiting import wait_until_blocking

_STARTS_WITHIN = timedelta(seconds=30)
_STOPS_WITHIN = timedelta(seconds=20)
# What a test of minutes at the most can do without.
_OPTIONS = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")


def find_postgres() -> Path | None:
    """Return the folder with the programs of the newest PostgreSQL, ``None`` without one."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


class PostgresServer:
    """One server on a unix socket in a folder of its own; entering it starts it.

    It keeps its data from start to start. It refuses to work for root, so that root's is
    another user's.
    """

    def __init__(self) -> None:
        programs = find_postgres()
        if programs is None:
            raise RuntimeError("PostgreSQL is not installed")
        self._programs = programs
        # pytest's folders are root's alone, and can be longer than a socket's path may be.
        self._folder = Path(mkdtemp(prefix="postgres-", dir="/tmp"))
        self._user: int | None = None
        self._group: int | None = None
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            self._user, self._group = owner.pw_uid, owner.pw_gid
            os.chown(self._folder, self._user, self._group)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, driver: str) -> str:
        """Return the address for SQLAlchemy."""
        return f"postgresql+{driver}://postgres@/postgres?host={self._folder}"

    def connect(self) -> psycopg.Connection[Any]:
        """Return a plain connection that commits each statement."""
        return psycopg.connect(host=str(self._folder), user="postgres", autocommit=True)

    def start(self) -> None:
        """Start, and return once it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self._folder / "data"),
                    *("-k", self._folder, "-c", "listen_addresses="),
                    *(word for option in _OPTIONS for word in ("-c", option)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._group,
            )
        wait_until_blocking(self._answers, timeout=_STARTS_WITHIN)

    def stop(self) -> None:
        """End it and all connections at once, in an orderly way."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End it as a crash does: the next start has to recover."""
        self._end(signal.SIGQUIT)

    def __enter__(self) -> Self:
        try:
            subprocess.run(
                [
                    *(self._programs / "initdb", "-D", self._folder / "data", "--no-sync"),
                    *("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"),
                ],
                check=True,
                capture_output=True,
                user=self._user,
                group=self._group,
            )
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(_STOPS_WITHIN.total_seconds())

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"it ended by itself:\n{(self._folder / 'log').read_text()}")
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
