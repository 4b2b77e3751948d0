"""What can go wrong, one function each: it does harm, and undoes what would not pass by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from redispatcher_fastapi.broker.scripts import PAUSE
from redispatcher_fastapi.keys import queue_prefix
from tests.chaos.clock import Clock
from tests.chaos.fleet import Fleet
from tests.chaos.workload import QUEUES
from tests.reliability.proxy import Proxy
from tests.servers import RedisServer, find_free_port


@dataclass(slots=True)
class World:
    """Everything a fault can be done to."""

    server: RedisServer
    proxy: Proxy
    fleet: Fleet
    lease: timedelta
    #: The server's; ``None`` when it is the machine's.
    clock: Clock | None
    chance: random.Random
    #: One harm to the server at a time: two would undo each other.
    server_is_free: asyncio.Lock = field(default_factory=asyncio.Lock)

    def command(self, *words: str | int) -> Any:
        """Send one command to the server, past the proxy."""
        with self.server.client(timeout=timedelta(seconds=20)) as client:
            return client.execute_command(*words)

    async def admin(self, *words: str | int) -> None:
        """Do the same, repeated while the server is not there."""
        await insist(lambda: self.command(*words))


async def insist(action: Callable[[], object]) -> None:
    """Do something to the server, again and again while it is not there."""
    while True:
        try:
            await asyncio.to_thread(action)
        except RedisError:
            await asyncio.sleep(0.05)
        else:
            return


Fault = Callable[[World], Awaitable[None]]


async def kill(world: World) -> None:
    """SIGKILL: the process is gone, and says nothing."""
    if member := world.fleet.choose():
        member.kill()


async def stop(world: World) -> None:
    """SIGSTOP for longer than the lease: the process comes back as a zombie."""
    if member := world.fleet.choose():
        await member.pause(1.8 * world.lease.total_seconds())


async def term(world: World) -> None:
    """SIGTERM: a deployment."""
    if member := world.fleet.choose():
        member.terminate()


async def redis_kill(world: World) -> None:
    """SIGKILL for Redis, which starts again from its append-only file."""
    async with world.server_is_free:
        await asyncio.to_thread(world.server.kill)
        await asyncio.to_thread(world.server.start)


async def redis_away(world: World) -> None:
    """Redis is killed and stays away for longer than the lease."""
    async with world.server_is_free:
        await asyncio.to_thread(world.server.kill)
        await asyncio.sleep(1.5 * world.lease.total_seconds())
        await asyncio.to_thread(world.server.start)


async def redis_wedge(world: World) -> None:
    """Redis accepts connections and answers nothing, for longer than the lease."""
    async with world.server_is_free:
        world.server.pause()
        try:
            await asyncio.sleep(1.5 * world.lease.total_seconds())
        finally:
            world.server.resume()


async def flush_all(world: World) -> None:
    """Somebody empties Redis."""
    await world.admin("FLUSHALL")


async def script_flush(world: World) -> None:
    """Redis forgets the scripts, as every restart does."""
    await world.admin("SCRIPT", "FLUSH")


async def out_of_memory(world: World) -> None:
    """Redis is at its maxmemory and takes nothing more."""
    async with world.server_is_free:
        await world.admin("CONFIG", "SET", "maxmemory", 1)
        await asyncio.sleep(1.0)
        await world.admin("CONFIG", "SET", "maxmemory", 0)


async def read_only(world: World) -> None:
    """The master becomes a replica, as in a failover, and is promoted again."""
    async with world.server_is_free:
        await world.admin("REPLICAOF", "127.0.0.1", find_free_port())
        await asyncio.sleep(0.7)
        await world.admin("REPLICAOF", "NO", "ONE")


async def pause_queue(world: World) -> None:
    """Somebody pauses a queue, which goes on by itself."""
    queue = world.chance.choice(QUEUES)

    def pause() -> None:
        with world.server.client(timeout=timedelta(seconds=20)) as client:
            values = ["", "d700", "maintenance"]
            client.execute_command("EVAL", PAUSE.source, 1, queue_prefix(queue), *values)

    await insist(pause)


async def reset(world: World) -> None:
    """All connections are reset."""
    await asyncio.to_thread(world.proxy.reset_all)


async def delay(world: World) -> None:
    """Every request arrives late."""
    with ExitStack() as stack:
        stack.enter_context(world.proxy.delaying(world.chance.uniform(0.05, 0.3)))
        await asyncio.sleep(1.0)


async def half_open(world: World) -> None:
    """All connections go silent for good, and nobody is told."""
    await asyncio.to_thread(world.proxy.silence_all)


async def cut_replies(world: World) -> None:
    """Requests are carried out, and their replies lost."""
    await asyncio.to_thread(
        lambda: world.proxy.cut_replies("EVALSHA", times=world.chance.randint(3, 8))
    )


async def step_clock(world: World) -> None:
    """The server's clock is set, forwards beyond every lease or backwards."""
    assert world.clock is not None
    world.clock.step(world.chance.choice([-30, -3, 10, 60, 3600]))


FAULTS: Mapping[str, Fault] = {
    "kill": kill,
    "stop": stop,
    "term": term,
    "redis-kill": redis_kill,
    "redis-away": redis_away,
    "redis-wedge": redis_wedge,
    "flush-all": flush_all,
    "script-flush": script_flush,
    "out-of-memory": out_of_memory,
    "read-only": read_only,
    "pause-queue": pause_queue,
    "reset": reset,
    "delay": delay,
    "half-open": half_open,
    "cut-replies": cut_replies,
    "step-clock": step_clock,
}
"""By name; a profile says which of them happen."""


@dataclass(frozen=True, slots=True)
class Harm:
    """A fault that was done."""

    fault: str
    at: float


async def do_harm(
    world: World, faults: tuple[str, ...], *, every: float, until: asyncio.Event
) -> list[Harm]:
    """Do faults in random order, about one in ``every`` seconds, and return which when all is over.

    They may overlap. A single kind of fault happens at once for the first time.
    """
    done: list[Harm] = []
    if not faults:
        return done
    async with asyncio.TaskGroup() as tasks:
        wait = every / 2
        while not until.is_set():
            try:
                async with asyncio.timeout(wait):
                    await until.wait()
            except TimeoutError:
                name = world.chance.choice(faults)
                done.append(Harm(name, time.monotonic()))
                tasks.create_task(_as_coroutine(FAULTS[name](world)))
            wait = every * world.chance.uniform(0.6, 1.4)
    return done


async def _as_coroutine(fault: Awaitable[None]) -> None:
    await fault
