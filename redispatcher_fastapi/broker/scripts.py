"""Loads the Lua operations and runs them, normalising what redis-py hands back."""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import NoScriptError

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, is_demoted, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_FOLDER = files("redispatcher_fastapi.broker") / "lua"
#: Files of functions, in their order: each calls only what stands before it.
LIBRARIES = ("prelude", "traits", "endings", "limits", "special", "adding", "schedules")
_FUNCTION = re.compile(r"^(?:--.*\n)*(?=local function)", re.MULTILINE)
#: What every script begins with, then the functions it may use: making one costs each call 0.1 us.
_BEGINNING, *_FUNCTIONS = (
    part
    for number, name in enumerate(LIBRARIES)
    for part in _FUNCTION.split((_FOLDER / f"{name}.lua").read_text())[1 if number else 0 :]
    if part  # a comment and what it belongs to are two places to split at
)
#: The parts of a script that are for rare cases: the others are not to pay for their functions.
_RARE = re.compile(r"^( *-- Rare:.*\n)((?:.*\n)*?) *-- Until here\.\n", re.MULTILINE)
_COMMENT = re.compile(r"--.*")
_CALL = re.compile(r"\bcall\(\s*'(\w+)'")

Argument = str | bytes | int


class CommandClient(Protocol):
    """The one method the scripts need of an asynchronous redis-py client."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]: ...


class BlockingClient(Protocol):
    """The same of a synchronous redis-py client, which connects again once it is closed."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...

    def close(self) -> None: ...


class Script:
    """One operation of the engine; the file of the same name documents its arguments."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = assemble((_FOLDER / f"{name}.lua").read_text())
        self.digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    @property
    def commands(self) -> set[str]:
        """Every command that it may call."""
        return set(_CALL.findall(_COMMENT.sub("", self.source)))

    async def run(
        self, client: CommandClient, prefixes: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """Run once, sending the source only to a server that does not know it yet.

        Raises:
            BrokerError: whatever redis-py or the network raised, translated.
        """
        keys = _declare(prefixes)
        try:
            try:
                return await heeding_cancellation(
                    client.execute_command("EVALSHA", self.digest, len(keys), *keys, *arguments)
                )
            except NoScriptError:
                return await heeding_cancellation(
                    client.execute_command("EVAL", self.source, len(keys), *keys, *arguments)
                )
        except REDIS_ERRORS as error:
            await leave_replica(client, error)
            raise translate(error) from error

    def run_blocking(
        self, client: BlockingClient, prefixes: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """Do the same with a synchronous client."""
        keys = _declare(prefixes)
        try:
            try:
                return client.execute_command("EVALSHA", self.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return client.execute_command("EVAL", self.source, len(keys), *keys, *arguments)
        except REDIS_ERRORS as error:
            if is_demoted(error):
                client.close()
            raise translate(error) from error


async def leave_replica(client: Any, error: Exception) -> None:
    """Close the idle connections of a client whose server has become a replica.

    The next command opens a new one, to whatever server is behind the address by now.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is not None and is_demoted(error):
        with suppress(*REDIS_ERRORS):
            await pool.disconnect(inuse_connections=False)


def assemble(body: str, change: Callable[[str], str] = str) -> str:
    """Return a script with the beginning and those functions of the libraries that it calls.

    Those that it calls only in a part for rare cases are made there. ``change`` is applied to the
    beginning and to each function.
    """
    common = _functions_for(_RARE.sub("", body))
    names = {name for name, _ in common}

    def with_rare(part: re.Match[str]) -> str:
        rare = [change(text) for name, text in _functions_for(part[0]) if name not in names]
        return "".join([part[1], *rare, part[2]])

    functions = (change(text) for _, text in common)
    return "".join([change(_BEGINNING), *functions, _RARE.sub(with_rare, body)])


def _functions_for(code: str) -> list[tuple[str, str]]:
    """Return the functions that some code calls, and those that these call, by their names."""
    found: list[tuple[str, str]] = []
    for function in reversed(_FUNCTIONS):  # each calls only what stands before it
        name = function.partition("local function ")[2].partition("(")[0]
        if re.search(rf"\b{name}\(", code):
            found.insert(0, (name, function))
            code += function
    return found


def _declare(prefixes: Sequence[str]) -> list[str]:
    """Return the keys of a call, with the one that makes a cluster refuse to split a queue."""
    return [*prefixes, f"{prefixes[-1]}-"]


PUBLISH = Script("publish")
CLAIM = Script("claim")
CLAIM_SOLO = Script("claim_solo")
RENEW = Script("renew")
ACK = Script("ack")
FAIL = Script("fail")
RELEASE = Script("release")
DEPART = Script("depart")
UPKEEP = Script("upkeep")
CANCEL = Script("cancel")
REDRIVE = Script("redrive")
DELETE = Script("delete")
RECORD = Script("record")
COUNTS = Script("counts")
LIST = Script("list")
WATCH = Script("watch")
POKE = Script("poke")
ONWARD = Script("onward")
ARRIVE = Script("arrive")
PAUSE = Script("pause")
SET_LIMITS = Script("set_limits")
SET_PRIORITY = Script("set_priority")
QUEUE = Script("queue")
WHY = Script("why")
SCHEDULE_LOOK = Script("schedule_look")
SCHEDULE_FIRE = Script("schedule_fire")
SCHEDULE_DECLARE = Script("schedule_declare")
SCHEDULE_PUT = Script("schedule_put")
SCHEDULE_CHANGE = Script("schedule_change")
SCHEDULE_READ = Script("schedule_read")


def as_bytes(value: str | bytes) -> bytes:
    """Return a reply as bytes, also when a shared client decodes its replies."""
    return value.encode() if isinstance(value, str) else value


def as_text(value: str | bytes) -> str:
    """Return a reply that is known to be ASCII as text."""
    return value if isinstance(value, str) else value.decode()


async def read_hash(client: CommandClient, key: str) -> dict[bytes | str, bytes | str]:
    """Return a whole hash; reading one key needs no script to be atomic."""
    try:
        reply = await heeding_cancellation(client.execute_command("HGETALL", key))
    except REDIS_ERRORS as error:
        raise translate(error) from error
    return dict(reply)
