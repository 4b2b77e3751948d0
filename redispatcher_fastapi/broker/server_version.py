"""Asks a server what it is, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.connection import Connections


async def read_version(connections: Connections) -> str | None:
    """Return name and version, such as ``Redis 7.2.4``; ``None`` when it does not say."""
    if connections.is_memory:
        return "In-memory store"
    client: Any = connections.publisher
    options = {"target_nodes": "primaries"} if connections.is_cluster else {}
    try:
        reply = await heeding_cancellation(client.execute_command("INFO", "server", **options))
    except REDIS_ERRORS:
        return None
    if not isinstance(reply, Mapping):
        return None
    fields = cast("Mapping[str, Any]", reply)
    # A cluster answers by node.
    nodes = [fields] if "redis_version" in fields else [*fields.values()]
    versions = {_describe(node) for node in nodes if "redis_version" in node}
    return ", ".join(sorted(versions)) or None


def _describe(fields: Mapping[str, Any]) -> str:
    if "valkey_version" in fields:  # it states a Redis version too, the one it is compatible with
        return f"Valkey {fields['valkey_version']}"
    return f"Redis {fields['redis_version']}"
