"""A TCP proxy in front of Redis that loses replies, goes silent and refuses connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_CHUNK = 65536


class Proxy:
    """Listens on a free loopback port; entering it starts it, in a thread with a loop of its own.

    All methods return once what they ask for holds.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._port = 0
        self._delay = 0.0
        self._is_refusing = False
        self._needle = b""
        self._cuts_left = 0
        self._cuts = 0

    @property
    def dsn(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def cuts(self) -> int:
        """How many replies were cut until now."""
        return self._cuts

    def cut_replies(self, needle: str, *, times: int) -> None:
        """Let the next requests that contain ``needle`` be carried out, and lose their replies.

        The client sees its connection reset; the server does not know.
        """

        def arm() -> None:
            self._needle, self._cuts_left = needle.encode(), times

        self._do(arm)

    @contextmanager
    def refusing(self) -> Generator[None]:
        """Reset all connections, and each new one at once, for the length of a block."""
        self._do(self._refuse)
        try:
            yield
        finally:
            self._do(self._accept)

    @contextmanager
    def delaying(self, seconds: float) -> Generator[None]:
        """Deliver every request late, for the length of a block."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def lead_to(self, port: int) -> None:
        """Let new connections lead to another server, as a name does that is given to it."""
        self._server_port = port

    def reset_all(self) -> None:
        """Reset all connections; new ones work."""
        self._do(self._reset)

    def silence_all(self) -> None:
        """Let all connections go half open for good: nothing passes, nobody is told."""

        def silence() -> None:
            for link in self._links:
                link.is_silent = True

        self._do(silence)

    def __enter__(self) -> Self:
        self._thread.start()

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", 0)

        self._server = self._run(listen())
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def close() -> None:
            assert self._server is not None
            self._server.close()
            self._reset()
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, change: Callable[[], None]) -> None:
        async def call() -> None:
            change()

        self._run(call())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def _refuse(self) -> None:
        self._is_refusing = True
        self._reset()

    def _accept(self) -> None:
        self._is_refusing = False

    def _reset(self) -> None:
        for link in self._links:
            link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server[1])
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_requests(link, reader))
                pumps.create_task(self._pump_replies(link, server[0]))
        finally:
            link.reset()
            self._links.discard(link)

    async def _pump_requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            if self._delay:
                await asyncio.sleep(self._delay)
            if self._cuts_left and self._needle in data:
                self._cuts_left -= 1
                link.loses_reply = True
            if not link.is_silent:
                link.server.write(data)
        link.reset()

    async def _pump_replies(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            if link.loses_reply:
                self._cuts += 1
                break
            if not link.is_silent:
                link.client.write(data)
        link.reset()


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.is_silent = False
        self.loses_reply = False

    def reset(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    with suppress(OSError):
        return await reader.read(_CHUNK)
    return b""
