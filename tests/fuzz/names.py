"""Queue names, job ids and addresses: accepted and harmless, or refused by a typed error."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from urllib.parse import quote

from redis.crc import key_slot

from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.keys import (
    InvalidNameError,
    check_job_id,
    check_queue_name,
    finished_channel,
    poke_key,
    queue_prefix,
    wake_key,
)
from tests.fuzz import nonsense

_NAMES = ("a" * 63, "a" * 64, "a" * 65, "a" * 128, "a" * 129, "é", "letters", "a}b{c", "x:jobs")
_SCHEMES = (
    "redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster", "memory",
    "http", "REDIS", "",
)  # fmt: skip
_SECRET = "s3cr3tPassw0rd"


def make_name(random: Random) -> str:
    text = random.choice(_NAMES) if random.random() < 0.4 else nonsense.random_text(random, 12)
    return text + nonsense.random_text(random, 4) if random.random() < 0.3 else text


def check_name(name: str) -> None:
    """A queue keeps to its own prefix and slot, and what belongs to an id is in it."""
    if _accepts(check_queue_name, name):
        prefix = queue_prefix(name)
        keys = [wake_key(name), poke_key(name, "holder"), finished_channel(name)]
        assert all(key.startswith(prefix) for key in keys)
        assert {key_slot(key.encode()) for key in keys} == {key_slot(name.encode())}
    if _accepts(check_job_id, name):
        key = f"{queue_prefix('letters')}result:{name}"
        assert key_slot(key.encode()) == key_slot(b"letters")
        assert name.isascii()
        assert name.isprintable()


def _accepts(check: Callable[[str], str], name: str) -> bool:
    try:
        return check(name) == name
    except InvalidNameError as error:
        refusal = str(error)
    assert len(refusal) < 500
    return False


def make_dsn(random: Random) -> str:
    password = quote(_SECRET, safe="") if random.random() < 0.5 else _SECRET
    user = random.choice(["", "user", nonsense.random_text(random, 6)])
    userinfo = random.choice([f"{user}:{password}@", f"{password}@", f":{password}@", ""])
    host = random.choice(["h", "h:1", "[::1]:7", "h:99999", "a:1,b:2", "", "h:", "[", "%zz"])
    path = random.choice(["", "/0", "/15", "/x", "/main/2", "/%00", "//", "/a/b/c", "/-1"])
    option = random.choice(["db", "protocol", "password", "ssl_cert_reqs", "max_connections", "x"])
    value = nonsense.number_text(random)
    query = random.choice(["", f"?{option}={value}", f"?password={password}", "?", "?db=1&db=2"])
    text = f"{random.choice(_SCHEMES)}://{userinfo}{host}{path}{query}"
    if random.random() < 0.5:
        at = random.randrange(len(text) + 1)
        if _SECRET not in text or not _is_within_secret(text, at):
            text = text[:at] + nonsense.random_text(random, 5) + text[at + random.randrange(2) :]
    return text


def check_dsn(text: str) -> None:
    """A password is shown neither by a refusal nor by what was read."""
    try:
        dsn = parse_dsn(text)
    except ConfigurationError as error:
        shown = str(error)
    else:
        if dsn.kind == "unix" and _SECRET in dsn.name:
            return  # the path of a socket may have any name
        shown = f"{dsn} {dsn!r}"
    assert _SECRET not in shown, (text, shown)


def _is_within_secret(text: str, at: int) -> bool:
    # The word `?password=` before it counts too: without it nobody knows what is secret.
    return any(
        found.start() - 11 <= at <= found.end() for found in re.finditer(re.escape(_SECRET), text)
    )
