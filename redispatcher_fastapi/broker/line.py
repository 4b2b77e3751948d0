"""Calls Redis over redis-py's own connections, past what its client adds to every command."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redispatcher_fastapi.broker.deadlines import Deadlines
from redispatcher_fastapi.broker.redis_errors import REDIS_ERRORS, is_demoted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta

    from redis.asyncio import Redis

try:
    import hiredis
except ImportError:
    _pack: Callable[[Any], bytes] | None = None
else:
    # It does not say that it returns bytes.
    _pack = hiredis.pack_command  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class Line:
    """Runs commands like a redis-py client, which it must be given for itself alone.

    Whole, from connecting to the reply, a command takes no longer than ``timeout``: the client must
    have no time-out of its own for a read. Replies are as the server sends them, so that this is
    for scripts. A command takes the client 65 to 85 us of CPU, and this 25 to 50.
    """

    def __init__(self, client: Redis, timeout: timedelta) -> None:
        self._client = client
        self._pool: Any = client.connection_pool
        self._timeout = timeout.total_seconds()
        self._deadlines = Deadlines()
        self._idle: list[Any] = []
        # redis-py 5.0 asks for the name of the command, and later releases warn when they get it.
        name = inspect.signature(self._pool.get_connection).parameters.get("command_name")
        is_named = name is not None and name.default is inspect.Parameter.empty
        self._connection_arguments = ("EVALSHA",) if is_named else ()

    async def execute_command(self, *args: Any) -> Any:
        """Send one command and return its reply.

        Raises:
            RedisError: as redis-py does; its ``TimeoutError`` when there was no reply in time.
        """
        when = asyncio.get_running_loop().time() + self._timeout
        try:
            with self._deadlines.until(when):
                connection = await self._take()
                try:
                    packed = connection.pack_command(*args) if _pack is None else _pack(args)
                    await connection.send_packed_command(packed, check_health=False)
                    reply = await connection.read_response()
                except ResponseError as error:
                    if is_demoted(error):
                        await self._give_up(connection, *self._take_idle())
                    else:
                        self._idle.append(connection)
                    raise
                except BaseException:
                    # Its reply may still come: nobody must take that for theirs.
                    await self._give_up(connection)
                    raise
        except TimeoutError:
            raise RedisTimeoutError("There was no reply in time.") from None
        self._idle.append(connection)
        return reply

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[HeldConnection, None]:
        """Provide one connection for commands that belong together.

        Raises:
            RedisError: it cannot be opened in time.
        """
        try:
            with self._deadlines.until(asyncio.get_running_loop().time() + self._timeout):
                connection = await self._take()
        except TimeoutError:
            raise RedisTimeoutError("There was no connection in time.") from None
        held = HeldConnection(connection, self._deadlines, self._timeout)
        try:
            yield held
        finally:
            if held.is_in_step:
                self._idle.append(connection)
            else:
                await self._give_up(connection, *(self._take_idle() if held.is_demoted else ()))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_connected and not connection._reader.at_eof():
                return connection
            await self._give_up(connection)
        return await self._pool.get_connection(*self._connection_arguments)

    def _take_idle(self) -> list[Any]:
        """Return all idle connections, which lead to the same server as the one in hand."""
        idle, self._idle = self._idle, []
        return idle

    async def _give_up(self, *connections: Any) -> None:
        for connection in connections:
            with suppress(*REDIS_ERRORS):
                await connection.disconnect(nowait=True)
            await self._pool.release(connection)


class HeldConnection:
    """Runs commands like :class:`Line`, all of them over one connection."""

    def __init__(self, connection: Any, deadlines: Deadlines, timeout: float) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self._timeout = timeout
        #: Whether each reply has come that was asked for.
        self.is_in_step = True
        #: Whether the server has become a replica.
        self.is_demoted = False

    async def execute_command(self, *args: Any) -> Any:
        """Send one command and return its reply, as :meth:`Line.execute_command` does."""
        if not self.is_in_step:
            raise RedisConnectionError("The connection broke, and with it what belongs together.")
        self.is_in_step = False
        connection = self._connection
        try:
            with self._deadlines.until(asyncio.get_running_loop().time() + self._timeout):
                packed = connection.pack_command(*args) if _pack is None else _pack(args)
                await connection.send_packed_command(packed, check_health=False)
                reply = await connection.read_response()
        except ResponseError as error:
            self.is_demoted = is_demoted(error)
            self.is_in_step = not self.is_demoted
            raise
        except TimeoutError:
            raise RedisTimeoutError("There was no reply in time.") from None
        self.is_in_step = True
        return reply
