"""What a person wants to know when a pool starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.server_version import read_version
from redispatcher_fastapi.consumer import definition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redispatcher_fastapi.cli.options import PoolOptions
    from redispatcher_fastapi.config import RedispatcherConfig

logger = logging.getLogger("redispatcher.pool")

_VERSION_WITHIN_SECONDS = 1.0


async def announce(
    config: RedispatcherConfig, slots: Mapping[str, int], options: PoolOptions, *, version: str
) -> None:
    """Log what is about to run; of several processes only the first one does."""
    if options.number not in {None, 1}:
        return
    logger.info(
        "redispatcher_fastapi %s runs the pool of %s.",
        version,
        options.target,
        extra={"event": "pool.starting", "version": version, "target": options.target},
    )
    server = await _find_server(config)
    logger.info(
        "%s at %s.",
        server or "Redis",
        config.dsn,
        extra={"event": "pool.redis", "dsn": str(config.dsn), "server": server},
    )
    if config.dsn.kind == "memory":
        logger.warning(
            "memory:// belongs to one process: what other processes publish does not arrive here."
        )
    for each in config.consumers:
        definition = definition_of(each.consumer_class)
        if definition.queue in slots:
            logger.info(
                "%s takes jobs from %s, %d at a time.",
                definition.name,
                definition.queue,
                each.count,
                extra={"event": "pool.consumer", "queue": definition.queue, "slots": each.count},
            )
    total = sum(slots.values())
    logger.info(
        "%d slots in %s.",
        total * options.processes,
        "one process" if options.processes == 1 else f"{options.processes} processes",
        extra={
            "event": "pool.slots",
            "slots": total * options.processes,
            "processes": options.processes,
        },
    )


async def _find_server(config: RedispatcherConfig) -> str | None:
    async with Connections(config.dsn) as connections:
        with anyio.move_on_after(_VERSION_WITHIN_SECONDS):
            return await read_version(connections)
    return None
