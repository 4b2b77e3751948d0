"""A Redis server of the benchmark's own, and what it says of itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

_START_SECONDS = 10


class ServerFailedError(Exception):
    """Raised when no Redis server can be started."""


class Server:
    """Listens on a free loopback port and keeps everything in memory; entering it starts it."""

    def __init__(self) -> None:
        self.port = 0
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = TemporaryDirectory(prefix="bench-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerFailedError("There is no redis-server on PATH: install Redis first.")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder.name]
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, *options, "--save", "", "--appendonly", "no"],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the harness, which then ends it
            )
        self.pid = self._process.pid
        self.client: Any = Redis(port=self.port, socket_timeout=30)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client.ping()
                break
            except RedisError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._stop()
                    raise ServerFailedError("redis-server did not start.") from None
                time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self.client.close()
            self._process.kill()  # it has nothing to save
            self._process.wait()
        self._folder.cleanup()

    @property
    def version(self) -> str:
        return str(self.client.info("server")["redis_version"])

    def cpu_seconds(self) -> float:
        """CPU time since it started."""
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    def reads(self) -> int:
        """How often it read from a client's socket.

        That is how often somebody asked it something: what is pipelined counts once, and so does a
        script with all its commands. A request of more than 16 KB counts several times.
        """
        return int(self.client.info("stats")["total_reads_processed"])

    def memory(self) -> int:
        """Bytes in use, once those of closed connections are free again."""
        smallest = int(self.client.info("memory")["used_memory"])
        for _ in range(10):
            time.sleep(0.05)
            smallest = min(smallest, int(self.client.info("memory")["used_memory"]))
        return smallest

    def script_p99(self) -> float | None:
        """Milliseconds of the slowest hundredth of script calls; ``None`` before Redis 7.0."""
        found: Any = self.client.info("latencystats").get("latency_percentiles_usec_evalsha")
        return None if found is None else float(found["p99"]) / 1000

    def forget_scripts(self) -> None:
        """Let ``script_p99`` begin here; ``reads`` begins at zero again, too."""
        self.client.config_resetstat()
