"""What a person wants to know when a pool starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.rights import check_rights
from redispatcher_fastapi.broker.server_version import read_version
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.errors import BrokerAccessError, BrokerError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redispatcher_fastapi.cli.options import PoolOptions
    from redispatcher_fastapi.config import RedispatcherConfig

logger = logging.getLogger("redispatcher.pool")

_ASKED_WITHIN_SECONDS = 1.0


async def announce(
    config: RedispatcherConfig, slots: Mapping[str, int], options: PoolOptions, *, version: str
) -> None:
    """Log what is about to run; of several processes only the first one does.

    Raises:
        BrokerAccessError: Redis refuses the credentials, or a command that a pool needs.
    """
    if options.number not in {None, 1}:
        return
    logger.info(
        "redispatcher_fastapi %s runs the pool of %s.",
        version,
        options.target,
        extra={"event": "pool.starting", "version": version, "target": options.target},
    )
    server, refusal = await _ask_server(config, slots)
    logger.info(
        "%s at %s.",
        server or "Redis",
        config.dsn,
        extra={"event": "pool.redis", "dsn": str(config.dsn), "server": server},
    )
    if refusal is not None:
        raise BrokerAccessError(f"{refusal} Asked at {config.dsn}.") from refusal
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
                slots[definition.queue],
                extra={
                    "event": "pool.consumer",
                    "queue": definition.queue,
                    "slots": slots[definition.queue],
                },
            )
    total = sum(slots.values())
    if config.concurrency is not None:
        total = min(total, config.concurrency)
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


async def _ask_server(
    config: RedispatcherConfig, queues: Collection[str]
) -> tuple[str | None, BrokerAccessError | None]:
    """Return what the server is, and what it refuses a pool; the pool finds out all the rest."""
    server = None
    async with Connections(config.dsn) as connections:
        with anyio.move_on_after(_ASKED_WITHIN_SECONDS):
            server = await read_version(connections)
            try:
                await check_rights(connections, queues)
            except BrokerAccessError as error:
                return server, error
            except BrokerError:
                return server, None
    return server, None
