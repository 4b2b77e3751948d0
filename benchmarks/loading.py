"""Sends requests from many clients at once.

`python -m benchmarks.loading PORT PATH CLIENTS SECONDS` prints as JSON what came of it. Each client
keeps its connection and sends the next request when it has its answer. Written on asyncio's
protocols, so that it takes as little as it can of the machine it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

from benchmarks.jobs import fields_of

_ENOUGH_FAILURES = 10


class Load:
    """What all clients together did."""

    def __init__(self, path: str) -> None:
        body = json.dumps(fields_of("noop", 0)).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.answered = 0
        self.failed = 0
        self.is_over = False


class Client(asyncio.Protocol):
    """One connection; an answer is told by its status line."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # One of uvloop's, which has no class of asyncio's above it.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        head, found, body = received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        load = self._load
        if received.startswith(b"HTTP/1.1 202"):
            load.answered += 1
        else:
            load.failed += 1
        if self._transport is not None and not load.is_over and load.failed < _ENOUGH_FAILURES:
            self._transport.write(load.request)


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


async def run(port: int, path: str, clients: int, seconds: float) -> dict[str, float]:
    """Return how many requests were answered with 202, and in how many seconds."""
    loop, load = asyncio.get_running_loop(), Load(path)
    began = time.perf_counter()
    transports = [
        (await loop.create_connection(lambda: Client(load), "127.0.0.1", port))[0]
        for _ in range(clients)
    ]
    await asyncio.sleep(seconds)
    load.is_over = True
    answered, elapsed = load.answered, time.perf_counter() - began
    for transport in transports:
        transport.close()
    if load.failed or not answered:
        raise SystemExit(f"{answered} requests to {path} were answered, {load.failed} failed")
    return {"requests": answered, "elapsed": elapsed}


def main() -> None:
    import uvloop

    port, path, clients, seconds = sys.argv[1:]
    figures = uvloop.run(run(int(port), path, int(clients), float(seconds)))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
