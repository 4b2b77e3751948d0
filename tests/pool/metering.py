"""Counts what a Redis server is asked to do, by listening to MONITOR."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.servers import RedisServer

_END = b"the measurement ends here"


@dataclass(slots=True)
class Meter:
    """What came in during a block; complete when the block has ended."""

    #: Requests of clients, by command: each is a round trip.
    requests: Counter[str] = field(default_factory=Counter[str])
    #: Commands that scripts ran, by command.
    inside_scripts: Counter[str] = field(default_factory=Counter[str])

    @property
    def round_trips(self) -> int:
        return self.requests.total()

    def count(self, line: bytes) -> None:
        """Take in one line of MONITOR: ``+<time> [<db> <client>] "COMMAND" "argument" …``."""
        origin, _, command = line.partition(b'] "')
        name = command.partition(b'"')[0].decode().lower()
        is_inside = origin.endswith(b"lua")
        (self.inside_scripts if is_inside else self.requests)[name] += 1


@contextmanager
def metering(server: RedisServer) -> Generator[Meter]:
    """Count everything the server is asked for during a block, by whomever."""
    meter = Meter()
    with socket.create_connection(("127.0.0.1", server.port)) as listener:
        lines = listener.makefile("rb")
        listener.sendall(b"MONITOR\r\n")
        assert lines.readline() == b"+OK\r\n"
        yield meter
        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(b'ECHO "%b"\r\n' % _END)
            while _END not in (line := lines.readline()):
                meter.count(line)
