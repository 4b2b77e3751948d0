"""Keys and seals for tests, and ways into the store that only an attacker takes."""

from __future__ import annotations

from typing import Any

from redispatcher_fastapi import AesGcmCipher, Sealing, SigningKeys
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.dsn import parse_dsn

KEY = "s" * 43
OLD_KEY = "o" * 43
FOREIGN_KEY = "f" * 43


def signed() -> Sealing:
    return Sealing(signing=SigningKeys({"new": KEY, "old": OLD_KEY}))


def encrypted() -> Sealing:
    return Sealing(encryption=AesGcmCipher({"new": KEY, "old": OLD_KEY}))


def both() -> Sealing:
    return Sealing(
        signing=SigningKeys({"new": KEY, "old": OLD_KEY}),
        encryption=AesGcmCipher({"new": KEY, "old": OLD_KEY}),
    )


def redis_command(dsn: str, *arguments: Any) -> Any:
    """Do what anybody can who reaches this Redis."""
    with Connections(parse_dsn(dsn)).heartbeat() as client:
        return client.execute_command(*arguments)
