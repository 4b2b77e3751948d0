"""Finds keys that nobody will ever remove, measured against the table in keys.py."""

from __future__ import annotations

import re
from typing import NamedTuple

from redispatcher_fastapi import keys
from tests.servers import CommandClient

_ROW = re.compile(r"^``(?P<suffix>[^`]+)`` +(?P<type>hash|list|zset|set|string) +(?P<text>.+)$")


class DocumentedKey(NamedTuple):
    """One row of the table: a suffix such as ``result:<id>``, its Redis type, its lifetime."""

    suffix: str
    type: str
    text: str

    @property
    def must_expire(self) -> bool:
        """Whether the table promises a TTL."""
        return "expires" in self.text

    @property
    def is_permanent(self) -> bool:
        """Whether the table lets it stay when its queue is empty and all retention has passed."""
        return "permanent" in self.text

    @property
    def owner(self) -> str:
        """What one such key belongs to: ``id`` for a job, ``holder`` for a process."""
        found = re.search(r"<(\w+)>", self.suffix)
        return found[1] if found else "queue"

    def matches(self, suffix: str) -> bool:
        """Tell whether a key's suffix is one of this row."""
        return self._pattern.fullmatch(suffix) is not None

    def owner_in(self, suffix: str) -> str | None:
        """Return the job or holder a key belongs to, ``None`` for a key of the whole queue."""
        found = self._pattern.fullmatch(suffix)
        return found[1] if found and self._pattern.groups else None

    @property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"<\w+>", "(.+)", re.escape(self.suffix)), re.DOTALL)


def read_documented_keys() -> list[DocumentedKey]:
    """Return the rows of the table in the docstring of keys.py."""
    rows = [_ROW.match(line) for line in (keys.__doc__ or "").splitlines()]
    return [DocumentedKey(row["suffix"], row["type"], row["text"]) for row in rows if row]


def find_leaks(client: CommandClient) -> list[str]:
    """Return a sentence for each key that is not documented or will never be removed."""
    keys = _all_keys(client)
    return [problem for key in keys for problem in _examine(client, key)] + _find_unmarked(keys)


#: What no script looks for in a queue without its key ``special``.
_SPECIAL = re.compile(
    r"(rd:\{.*\}:)(control|levels|partitions|lines|line:.*|ring|slots|used|resting|moved|expiries"
    r"|locks|cancelling|ready:high|ready:low|held_back|flows)",
    re.DOTALL,
)


def _find_unmarked(keys: list[str]) -> list[str]:
    """Return a sentence for each key of a queue that lacks the mark to look for such keys."""
    found = [_SPECIAL.fullmatch(key) for key in keys]
    return [
        f"{each[0]} is there without {each[1]}special: nobody would look for it"
        for each in found
        if each and f"{each[1]}special" not in keys
    ]


def find_leftovers(client: CommandClient) -> list[str]:
    """Return the keys that may not be there once all jobs are gone and all retention has passed."""
    permanent = [row for row in read_documented_keys() if row.is_permanent]
    return [
        key
        for key in _all_keys(client)
        if not any(row.matches(_suffix(key) or "") for row in permanent)
    ]


def _examine(client: CommandClient, key: str) -> list[str]:
    suffix = _suffix(key)
    if suffix is None:
        return [f"{key} is not a key of a queue"]
    row = next((row for row in read_documented_keys() if row.matches(suffix)), None)
    if row is None:
        return [f"{key} is not in the table of keys.py"]
    problems: list[str] = []
    stored_type = _text(client.execute_command("TYPE", key))
    if stored_type not in {row.type, "none"}:
        problems.append(f"{key} is a {stored_type}, but the table says {row.type}")
    if client.execute_command("PTTL", key) == -1:
        if row.must_expire:
            problems.append(f"{key} has no TTL, but the table says it expires")
        elif not _has_owner(client, row, key, suffix):
            problems.append(f"{key} has no TTL and outlived its {row.owner}")
    return problems


def _has_owner(client: CommandClient, row: DocumentedKey, key: str, suffix: str) -> bool:
    """Tell whether what a key belongs to is still there: a job's record, a holder's lease."""
    name = row.owner_in(suffix)
    if name is None:
        return True
    prefix = key.removesuffix(suffix)
    if row.suffix.startswith("line:"):
        key = suffix.split(":", 2)[2]
        return client.execute_command("ZSCORE", f"{prefix}lines", key) is not None
    if row.owner == "holder":
        return client.execute_command("ZSCORE", f"{prefix}leases", name) is not None
    return bool(client.execute_command("HEXISTS", f"{prefix}jobs", name))


def _suffix(key: str) -> str | None:
    """Return what follows the prefix of a queue, ``None`` for a key without one."""
    found = re.fullmatch(r"rd:\{([^{}]+)\}:(.+)", key, re.DOTALL)
    return found[2] if found and key.startswith(keys.queue_prefix(found[1])) else None


def _all_keys(client: CommandClient) -> list[str]:
    return sorted(_text(key) for key in client.execute_command("KEYS", "*"))


def _text(reply: str | bytes) -> str:
    return reply if isinstance(reply, str) else reply.decode(errors="replace")
