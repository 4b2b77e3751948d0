"""What redis-py allows: a loop written by hand, with the same message and the same validation.

It delivers at least once as a stream and its group do, and leaves out what a library is for: taking
over what a lost worker held, retries, leases, fencing, records, hooks, results, an orderly end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import uvloop
from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start

STREAM, GROUP, CONSUMER = settings.QUEUES[0], "workers", "worker"
AT_ONCE = 100


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


async def noop(message: Message) -> None:
    record_start(message.index)


async def sleep(message: Message) -> None:
    await jobs.run_sleep(message.index)


HANDLERS: dict[str, tuple[type[Message], Callable[[Any], Awaitable[None]]]] = {
    "noop": (Message, noop),
    "large": (LargeMessage, noop),
    "sleep": (Message, sleep),
}


def connect(**options: Any) -> Any:
    """Return a client of redis-py, whose own types leave half of it unknown."""
    url = settings.REDIS_URL
    return Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType] see above


async def send(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send commands in one write, and return their replies."""
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await connection.read_response() for _ in commands]


class Worker:
    """Claims in batches, runs each job in a task, acknowledges in batches."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._model, self._handler = HANDLERS[settings.KIND]
        is_slow = settings.KIND == "sleep"
        self._free = settings.SLOTS if is_slow else 2 * settings.SLOTS
        # Claiming few at a time costs more, but leaves no slot empty.
        self._worth_a_claim = 1 if is_slow else AT_ONCE // 2
        self._room = asyncio.Event()
        self._ended: list[bytes] = []
        self._has_ended = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._acknowledge())
            await self._claim(tasks)

    async def _claim(self, tasks: asyncio.TaskGroup) -> None:
        connection = await self._redis.connection_pool.get_connection()
        with suppress(ResponseError):  # it exists
            await send(connection, [("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")])
        while True:
            while self._free < self._worth_a_claim:
                self._room.clear()
                await self._room.wait()
            count = min(self._free, AT_ONCE)
            command = ("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", count, "BLOCK", 1000)
            (reply,) = await send(connection, [(*command, "STREAMS", STREAM, ">")])
            entries: list[tuple[bytes, list[bytes]]] = reply[0][1] if reply else []
            self._free -= len(entries)
            for entry_id, fields in entries:
                tasks.create_task(self._work(entry_id, fields[1]))

    async def _work(self, entry_id: bytes, body: bytes) -> None:
        await self._handler(self._model.model_validate_json(body))
        self._ended.append(entry_id)
        self._has_ended.set()
        self._free += 1
        self._room.set()

    async def _acknowledge(self) -> None:
        connection = await self._redis.connection_pool.get_connection()
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            ended, self._ended = self._ended, []
            await send(connection, [("XACK", STREAM, GROUP, *ended), ("XDEL", STREAM, *ended)])


class Producer:
    async def start(self) -> None:
        self._redis = connect(max_connections=1000)
        # More at once would open connections without end.
        self._callers = asyncio.Semaphore(AT_ONCE)
        self._connection = await self._redis.connection_pool.get_connection()

    def _encode(self, kind: str, index: int) -> str:
        return HANDLERS[kind][0].model_validate(jobs.fields_of(kind, index)).model_dump_json()

    async def publish(self, kind: str, index: int) -> None:
        body = self._encode(kind, index)
        async with self._callers:
            await self._redis.execute_command("XADD", STREAM, "*", "body", body)

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        await send(
            self._connection,
            [("XADD", STREAM, "*", "body", self._encode(kind, index)) for index in indexes],
        )

    async def close(self) -> None:
        await self._redis.connection_pool.disconnect()


async def work() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await Worker(connect(protocol=2)).run()


def main() -> None:
    """Run the worker: ``python -c 'from benchmarks.programs.limit import main; main()'``."""
    with suppress(asyncio.CancelledError):
        uvloop.run(work())


if __name__ == "__main__":
    produce(Producer())
