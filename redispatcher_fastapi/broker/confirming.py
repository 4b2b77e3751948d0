"""Has replicas confirm what was published, over the connection that published it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.cancellation import heeding_cancellation
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, translate
from redispatcher_fastapi.broker.types import REFUSED
from redispatcher_fastapi.errors import BrokerMemoryError, BrokerUnavailableError
from redispatcher_fastapi.keys import stats_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.scripts import CommandClient
    from redispatcher_fastapi.broker.types import Answer

# In milliseconds: shorter than the time-out of a command.
_FIRST_WAIT = 10
_LONGEST_WAIT = 1000


@dataclass(slots=True)
class Progress:
    """What a publish was answered, once it was, and how many replicas have it."""

    answers: Sequence[Answer | None] = ()
    confirmed: int = 0


def confirmation_for(broker: Broker) -> Confirmation | None:
    """Return what asks the replicas, where the settings demand it.

    Raises:
        ConfigurationError: they do, and these connections have none to ask.
    """
    if not broker.settings.confirmed_replicas:
        return None
    broker.connections.check_holding()
    return Confirmation(broker.connections, broker.settings.confirmed_replicas)


class Confirmation:
    """Asks the replicas of the server that has a queue."""

    def __init__(self, connections: Connections, replicas: int) -> None:
        self._connections = connections
        self._replicas = replicas

    @asynccontextmanager
    async def connection(self, queue: str) -> AsyncGenerator[CommandClient, None]:
        """Provide one connection to publish over, and to wait.

        Raises:
            BrokerError: there is none.
        """
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._connections.hold(queue))
            except REDIS_ERRORS as error:
                raise translate(error) from error
            yield connection

    async def wait(
        self,
        connection: CommandClient,
        queue: str,
        answers: Sequence[Answer | None],
        progress: Progress,
    ) -> None:
        """Return once enough replicas have what ``connection`` published; it may never.

        Raises:
            BrokerUnavailableError: the server is gone, or takes no writes any more.
            BrokerError: it refused to ask its replicas.
        """
        if all(answer is None or answer.letter == REFUSED for answer in answers):
            return
        progress.answers = answers
        await _mark(connection, queue)
        patience = _FIRST_WAIT
        while True:
            progress.confirmed = int(await _send(connection, "WAIT", self._replicas, patience))
            if progress.confirmed >= self._replicas:
                return
            patience = min(2 * patience, _LONGEST_WAIT)


async def _mark(connection: CommandClient, queue: str) -> None:
    """Write something: WAIT speaks of the last write, and a repeated publish has none."""
    try:
        await _send(connection, "HINCRBY", stats_key(queue), "published", 0)
    except BrokerMemoryError as error:
        # The jobs exist: this is no refusal to publish them.
        raise BrokerUnavailableError(str(error)) from error


async def _send(connection: CommandClient, *command: Any) -> Any:
    try:
        return await heeding_cancellation(connection.execute_command(*command))
    except REDIS_ERRORS as error:
        raise translate(error) from error
