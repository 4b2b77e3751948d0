"""The publishers of one application."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.database import AfterCommit
from redispatcher_fastapi.hooks import GuardedHooks, LoggingHooks
from redispatcher_fastapi.publisher.publisher import C, Publisher

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from redispatcher_fastapi.broker.types import BackgroundSender
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.database import Channel
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.middleware import Middleware
    from redispatcher_fastapi.sealing import Sealing

logger = logging.getLogger("redispatcher.publisher")


class Publishers:
    """The publishers of one sender, made when they are first asked for."""

    def __init__(
        self,
        sender: BackgroundSender,
        *,
        max_message_bytes: int,
        sealing: Sealing | None = None,
        middleware: Sequence[Middleware] = (),
        hooks: PoolHooks | None = None,
        outbox: Channel | None = None,
        own_queues: Collection[str] = (),
    ) -> None:
        """``hooks`` are told what could not be published after a commit.

        ``own_queues`` are those that the configuration has consumers for, if it has any: whoever
        publishes to another is most likely to have forgotten to list its consumer.
        """
        self._sender = sender
        self._max_message_bytes = max_message_bytes
        self._sealing = sealing
        self._middleware = middleware
        #: One for all consumers, so that the messages of one transaction go out together.
        self.after_commit = AfterCommit(sender, GuardedHooks(hooks or LoggingHooks()))
        #: Where ``in_transaction`` writes to.
        self.outbox = outbox
        self._own_queues = frozenset(own_queues)
        self._foreign: set[str] = set()
        self._made: dict[type[Any], Publisher[Any]] = {}

    def publisher(self, consumer: type[C], /) -> Publisher[C]:
        """Return the publisher of a consumer."""
        made = self._made.get(consumer)
        if made is None:
            made = Publisher(
                consumer,
                self._sender,
                max_message_bytes=self._max_message_bytes,
                sealing=self._sealing,
                middleware=self._middleware,
                after_commit=self.after_commit,
                outbox=self.outbox,
                notice=self._notice,
            )
            self._made[consumer] = made
            self._notice(definition_of(consumer))
        return made

    def _notice(self, definition: ConsumerDefinition) -> None:
        """Warn once of a consumer that no pool of the same configuration runs."""
        queue = definition.queue
        if not self._own_queues or queue in self._own_queues or queue in self._foreign:
            return
        self._foreign.add(queue)
        logger.warning(
            "%s can be published here, and is not in RedispatcherConfig(consumers=[...]): its jobs "
            "wait for a pool of another configuration.",
            definition.name,
        )
