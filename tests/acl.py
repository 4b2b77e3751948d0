"""What each role sends to Redis: read from the sources, and listened to while it is at work."""

from __future__ import annotations

import re
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import Script
from tests.servers import RedisServer

BROKER = Path(scripts.__file__).parent
_CALL = re.compile(r"\bcall\(\s*'(\w+)'")
_SENT = re.compile(r"(?:execute_command\(\s*|_send\(\w+, )\"([A-Z]+)\"")
_LINE = re.compile(r"\+[\d.]+ \[\d+ (?P<by>\S+)\] \"(?P<command>\w+)\"(?: \"(?P<first>[^\"]*)\")?")
_RUN = {"eval", "evalsha"}


class Role(NamedTuple):
    """The scripts that a role runs, and what it sends besides."""

    scripts: frozenset[Script]
    sent: frozenset[str]

    @property
    def commands(self) -> list[str]:
        """Everything it may need, also what its scripts do only now and then."""
        return sorted(self.sent.union(*(commands_of(script) for script in self.scripts)))


ROLES = {
    "publisher": Role(
        frozenset({scripts.PUBLISH, scripts.RECORD, scripts.WATCH, scripts.CANCEL}),
        frozenset({*_RUN, "info", "subscribe"}),
    ),
    "worker": Role(
        frozenset(
            {
                scripts.ACK,
                scripts.ARRIVE,
                scripts.CLAIM,
                scripts.CLAIM_SOLO,
                scripts.DEPART,
                scripts.FAIL,
                scripts.ONWARD,
                scripts.POKE,
                scripts.PUBLISH,
                scripts.RELEASE,
                scripts.RENEW,
                scripts.SCHEDULE_DECLARE,
                scripts.SCHEDULE_FIRE,
                scripts.SCHEDULE_LOOK,
                scripts.SCHEDULE_READ,
                scripts.UPKEEP,
            }
        ),
        frozenset({*_RUN, "blpop", "hgetall", "info"}),
    ),
    "monitor": Role(
        frozenset(
            {
                scripts.COUNTS,
                scripts.LIST,
                scripts.QUEUE,
                scripts.RECORD,
                scripts.SCHEDULE_READ,
                scripts.WHY,
            }
        ),
        frozenset({*_RUN, "info"}),
    ),
    "operator": Role(
        frozenset(
            {
                scripts.CANCEL,
                scripts.COUNTS,
                scripts.DELETE,
                scripts.LIST,
                scripts.PAUSE,
                scripts.QUEUE,
                scripts.RECORD,
                scripts.REDRIVE,
                scripts.SET_LIMITS,
                scripts.SET_PRIORITY,
                scripts.WHY,
                scripts.SCHEDULE_CHANGE,
                scripts.SCHEDULE_FIRE,
                scripts.SCHEDULE_PUT,
                scripts.SCHEDULE_READ,
            }
        ),
        frozenset({*_RUN, "info"}),
    ),
}
#: Where publishes are confirmed, and in a cluster where they are, too.
CONFIRMING = frozenset({"wait", "hincrby", "exists"})


def all_scripts() -> set[Script]:
    """Return every operation there is."""
    return {value for value in vars(scripts).values() if isinstance(value, Script)}


def commands_of(script: Script) -> set[str]:
    """Return the commands that a script may call, those of the functions it uses included."""
    return {name.lower() for name in _CALL.findall(re.sub(r"--.*", "", script.source))}


def commands_sent() -> set[str]:
    """Return the commands that the sources send outside of scripts."""
    sources = (path.read_text(encoding="utf-8") for path in BROKER.glob("*.py"))
    return {name.lower() for source in sources for name in _SENT.findall(source)}


@dataclass
class Heard:
    """What one user's clients sent while somebody listened."""

    commands: set[str] = field(default_factory=set[str])
    digests: set[str] = field(default_factory=set[str])


@contextmanager
def listening(server: RedisServer) -> Generator[dict[str, Heard]]:
    """Hear what clients send to a server in a block; known, by user, when it has been left.

    Only of clients that are still connected then, and not how they say hello.
    """
    heard: dict[str, Heard] = {}
    end = uuid4().hex
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"MONITOR\r\n")
        stream = connection.makefile(encoding="utf-8", errors="replace", newline="\r\n")
        assert stream.readline() == "+OK\r\n"
        yield heard
        with server.client() as admin:
            clients = str(admin.execute_command("CLIENT", "LIST"))
            admin.execute_command("ECHO", end)
        users = dict(re.findall(r"addr=(\S+) .*user=(\S+)", clients))
        for found in map(_LINE.match, _lines_until(stream, end)):
            if found is not None and found["by"] in users:
                _take(heard.setdefault(users[found["by"]], Heard()), found)


def _take(heard: Heard, found: re.Match[str]) -> None:
    name = found["command"].lower()
    if name in {"client", "hello", "auth"}:
        return
    heard.commands.add(name)
    if name == "evalsha":
        heard.digests.add(found["first"])


def _lines_until(stream: Iterable[str], end: str) -> Generator[str]:
    for line in stream:
        if end in line:
            return
        yield line
