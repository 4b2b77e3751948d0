"""The whole keyspace of a store at one moment, read back into plain values."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from redispatcher_fastapi.broker.scripts import BlockingClient
from tests.model.jobs import Ending

# One round trip: a machine looks after each of its steps.
_READ_ALL = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  else value = redis.call('GET', key) end
  out[#out + 1] = {key, kind, redis.call('PTTL', key), value}
end
return out
"""
_LIVE = re.compile(rb"(\d{13})(!?)(.*)", re.DOTALL)
_FINISHED = re.compile(
    rb"([SCDscd])(\d{13}),(-?\d+),(-?\d+)(?:,(\d+),(\d+))?"
    rb"(?:,([a-z_]{2,})(?:\n(.*))?|(,r)?)",
    re.DOTALL,
)


class Entry(NamedTuple):
    """One key: what it holds, and the milliseconds left to it if it expires."""

    content: Any
    ttl: int | None = None


class Record(NamedTuple):
    """One entry of the hash ``jobs``: ``letter`` is empty while the job lives."""

    published: int | None
    is_chosen: bool
    envelope: bytes | None
    letter: str = ""
    ending: Ending | None = None


Dump = dict[str, Entry]


class Raw(NamedTuple):
    """One key as Redis answers with it."""

    kind: str
    ttl: int
    value: Any


def read_raw(client: BlockingClient) -> dict[str, Raw]:
    """Return every key with its type, its time to live and what it holds, in a fixed order."""
    raw: dict[str, Raw] = {}
    for key, kind, ttl, value in client.execute_command("EVAL", _READ_ALL, 0):
        name = kind.decode()
        if name == "set":
            value = sorted(value)
        elif name == "hash":
            value = sorted(zip(value[::2], value[1::2], strict=True))
        raw[key.decode(errors="backslashreplace")] = Raw(name, int(ttl), value)
    return raw


def decode_queue(raw: dict[str, Raw], prefix: str) -> Dump:
    """Return the keys of one queue without their prefix, and what they hold in plain values."""
    return {
        key.removeprefix(prefix): _decode(key.removeprefix(prefix), entry)
        for key, entry in raw.items()
        if key.startswith(prefix)
    }


def written(before: dict[str, Raw], after: dict[str, Raw], *, besides: frozenset[str]) -> list[str]:
    """Return the keys that were written, times to live apart, but for those in ``besides``.

    That has suffixes, or their beginnings before the first colon.
    """
    return [
        key
        for key in sorted(before.keys() | after.keys())
        if _lasting(before.get(key)) != _lasting(after.get(key))
        and not besides & {key.partition("}:")[2], key.partition("}:")[2].partition(":")[0]}
    ]


def _lasting(raw: Raw | None) -> object:
    return None if raw is None else (raw.kind, raw.value, raw.ttl < 0)


def _decode(name: str, raw: Raw) -> Entry:
    content: Any
    match raw.kind:
        case "hash" if name == "jobs":
            content = {key.decode(): decode_record(value) for key, value in raw.value}
        case "hash":
            content = {key.decode(): value.decode() for key, value in raw.value}
        case "zset":
            pairs = zip(raw.value[::2], raw.value[1::2], strict=True)
            content = {key.decode(): _score(score) for key, score in pairs}
        case "list":
            content = [value.decode() for value in raw.value]
        case "set":
            content = {value.decode() for value in raw.value}
        case _:
            content = raw.value
    return Entry(content, None if raw.ttl < 0 else raw.ttl)


def _score(text: bytes) -> float:
    score = float(text)
    return int(score) if score == int(score) else score


def decode_record(text: bytes) -> Record:
    """Return a record as `docs/life-of-a-job.md` describes it.

    Raises:
        ValueError: it is not written like that.
    """
    if live := _LIVE.fullmatch(text):
        return Record(int(live[1]), live[2] == b"!", live[3])
    found = _FINISHED.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no record")
    letter, at, run, wait, attempts, losses, reason, live_record, has_result = found.groups()
    ending = Ending(
        int(at),
        int(run),
        int(wait),
        int(attempts or 1),
        int(losses or 0),
        None if reason is None else reason.decode(),
        has_result is not None,
    )
    name, is_chosen = letter.decode().upper(), letter.islower()
    if live_record is None:
        return Record(None, is_chosen, None, name, ending)
    return decode_record(live_record)._replace(letter=name, ending=ending)
