"""Redis servers of the suite's own: each is a child process that only its owner stops."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from types import TracebackType
from typing import Any, Never, Protocol, Self

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.waiting import wait_until_blocking

_STARTS_WITHIN = timedelta(seconds=20)
_ANSWERS_WITHIN = timedelta(seconds=1)
_STOPS_WITHIN = timedelta(seconds=20)
_CLUSTER_BUS_OFFSET = 10_000
_START_ATTEMPTS = 5  # another process may take the free port before the server does
# Which protocol connections speak, where a test does not choose one; redis-py's DSN says 2.
_PROTOCOL = os.environ.get("REDISPATCHER_TEST_PROTOCOL")
_OPTIONS = f"?protocol={_PROTOCOL}" if _PROTOCOL else ""

Config = Mapping[str, str | tuple[str, ...]]


class CommandClient(Protocol):
    """The one method that tests need of a synchronous redis-py client."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...


class ServerNotStartedError(Exception):
    """Raised when a server ended by itself, or another one answers in its place."""


def find_redis_server() -> str | None:
    """Return the path of a Redis or Valkey server, ``None`` when there is none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def skip_or_fail(reason: str, *, lacking: str | None = None) -> Never:
    """Skip the test where something is missing; fail it where everything is promised.

    ``lacking`` names what REDISPATCHER_REDIS_LACKS, with commas between, may except from it.
    """
    is_promised = os.environ.get("REDISPATCHER_REQUIRE_REDIS") == "1"
    excepted = os.environ.get("REDISPATCHER_REDIS_LACKS", "").split(",")
    if is_promised and lacking not in excepted:
        pytest.fail(f"{reason}, but REDISPATCHER_REQUIRE_REDIS=1 demands it")
    pytest.skip(reason)


@contextmanager
def open_client(
    *,
    port: int = 0,
    unix_socket_path: str | None = None,
    password: str | None = None,
    timeout: timedelta = timedelta(seconds=5),
) -> Generator[CommandClient]:
    """Open a plain client that answers in text and repeats nothing."""
    client = Redis(
        host="127.0.0.1",
        port=port,
        unix_socket_path=unix_socket_path,
        password=password,
        decode_responses=True,
        socket_timeout=timeout.total_seconds(),
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    finally:
        client.close()


class RedisServer:
    """One server on a free loopback port, or on a unix socket; entering it starts it.

    It keeps its address and its directory from start to start, so that clients find it again and an
    append-only file survives. ``config`` holds redis.conf directives, with a tuple for several
    arguments; ``is_durable`` writes every command to disk before it is answered, in ``directory``.
    ``environment`` is what the process gets beside the environment of the test.
    """

    def __init__(
        self,
        directory: Path,
        *,
        config: Config | None = None,
        is_durable: bool = False,
        on_unix_socket: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self._config: dict[str, str | tuple[str, ...]] = {"save": "", "appendonly": "no"}
        self._config |= config or {}
        if is_durable:
            self._config |= {"appendonly": "yes", "appendfsync": "always"}
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        # pytest's directories can be longer than a socket's path may be.
        self._socket_folder = TemporaryDirectory(prefix="redis-") if on_unix_socket else None

    @property
    def dsn(self) -> str:
        """Where it listens, with the password if ``requirepass`` is configured."""
        password = self._password
        if self._socket_folder is not None:
            return f"unix://{f':{password}@' if password else ''}{self._socket_path}{_OPTIONS}"
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self._port}/0{_OPTIONS}"

    @property
    def port(self) -> int:
        """The TCP port; 0 on a unix socket."""
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives, paused or not."""
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def client(self, *, timeout: timedelta = timedelta(seconds=5)) -> Generator[CommandClient]:
        """Open a plain client that answers in text and repeats nothing."""
        address: dict[str, Any] = {"port": self._port}
        if self._socket_folder is not None:
            address = {"unix_socket_path": self._socket_path}
        with open_client(**address, password=self._password, timeout=timeout) as client:
            yield client

    def start(self) -> None:
        """Start, and return once this very process answers."""
        if self.is_running:
            raise RuntimeError("the server runs already")
        for attempt in range(1, _START_ATTEMPTS + 1):
            had_port = self._port
            if self._socket_folder is None and not had_port:
                self._port = find_free_port()
            try:
                self._start_once()
            except ServerNotStartedError:
                self._port = had_port
                if had_port or attempt == _START_ATTEMPTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """End it as an operator would, with SIGTERM; a paused one is resumed for that."""
        if self.is_running:
            self._running().send_signal(signal.SIGCONT)
            self._running().terminate()
            self._reap()

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would."""
        self._running().kill()
        self._reap()

    def restart(self) -> None:
        """Stop and start again on the same address, with what an append-only file kept."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it with SIGSTOP: connections stay open, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._running().send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Freeze it for the length of a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._socket_folder is not None:
            self._socket_folder.cleanup()

    @property
    def _password(self) -> str | None:
        password = self._config.get("requirepass")
        assert not isinstance(password, tuple)
        return password

    @property
    def _socket_path(self) -> str:
        assert self._socket_folder is not None
        return str(Path(self._socket_folder.name) / "redis.sock")

    @property
    def _log(self) -> Path:
        return self.directory / "redis.log"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.is_running:
            raise RuntimeError("the server does not run")
        return self._process

    def _start_once(self) -> None:
        program = find_redis_server()
        if program is None:
            raise ServerNotStartedError("neither redis-server nor valkey-server is on PATH")
        address: Config = {"bind": "127.0.0.1", "port": str(self._port)}
        if self._socket_folder is not None:
            address = {"port": "0", "unixsocket": self._socket_path}
        options: Config = {**self._config, **address, "dir": str(self.directory)}
        arguments: list[str] = []
        for name, value in options.items():
            arguments += (f"--{name}", *((value,) if isinstance(value, str) else value))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            with self.client(timeout=_ANSWERS_WITHIN) as client:
                wait_until_blocking(lambda: self._answers(client), timeout=_STARTS_WITHIN)
        except BaseException:
            if self.is_running:
                self.kill()
            raise

    def _answers(self, client: CommandClient) -> bool:
        if not self.is_running:
            raise ServerNotStartedError(f"the server ended by itself:\n{self._log.read_text()}")
        try:
            information: Mapping[str, Any] = client.execute_command("INFO", "server")
        except (RedisError, OSError):
            return False
        if information["process_id"] != self.pid:
            raise ServerNotStartedError(f"another server listens on {self._port or 'the socket'}")
        demanded = os.environ.get("REDISPATCHER_REDIS_VERSION", "")
        if not f"{information['redis_version']}.".startswith(f"{demanded}." if demanded else ""):
            raise ServerNotStartedError(
                f"this is Redis {information['redis_version']}, but "
                f"REDISPATCHER_REDIS_VERSION={demanded} demands another"
            )
        return True

    def _reap(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(_STOPS_WITHIN.total_seconds())
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


def find_free_port() -> int:
    """Return a loopback port that nobody listens on, low enough for a node of a cluster."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + _CLUSTER_BUS_OFFSET < 65536:
            return port


class RedisServers:
    """Any number of servers, each in a directory of its own; leaving it ends them all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers = ExitStack()

    def start(
        self,
        *,
        config: Config | None = None,
        is_durable: bool = False,
        on_unix_socket: bool = False,
    ) -> RedisServer:
        """Start one more; the arguments are those of :class:`RedisServer`."""
        return self._servers.enter_context(
            RedisServer(
                Path(mkdtemp(prefix="redis-", dir=self._directory)),
                config=config,
                is_durable=is_durable,
                on_unix_socket=on_unix_socket,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._servers.close()
