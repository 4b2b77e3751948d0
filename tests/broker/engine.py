"""Drives the engine by hand: one queue, a clock that the test moves, any number of processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.ids import new_holder_id
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import (
    Answer,
    AttemptError,
    Claimed,
    Delivery,
    EngineSettings,
    KeptUp,
    Retried,
    Submission,
    Succeeded,
    TakenBack,
    Traits,
    Unsuccessful,
    Want,
)
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.job import JobRecord, JobState

QUEUE = "letters"
BODY = b'{"text":"hello"}'
ENVELOPE = b'{"v":1,"body":' + BODY + b"}"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def move(self, **duration: float) -> None:
        self.time += timedelta(**duration)


class Process:
    """What one pool process does, step by step."""

    def __init__(self, engine: Engine, limits: str = "") -> None:
        self._engine = engine
        self._limits = limits
        self.broker = WorkerBroker(engine.broker.connections, engine.broker.settings, engine.clock)
        self.holder = new_holder_id()
        self._sequence = 1

    async def renew(self) -> int | None:
        return (await self.broker.renew({QUEUE: self.holder}))[QUEUE]

    def want(self, count: int, *, suspects: int = 1) -> Want:
        want = Want(QUEUE, self.holder, count, self._sequence, suspects, self._limits)
        self._sequence += count
        return want

    async def ask(self, want: Want) -> Claimed:
        return await self.broker.claim([want])

    async def claim(self, count: int = 1, *, suspects: int = 1) -> list[Delivery]:
        return (await self.ask(self.want(count, suspects=suspects))).deliveries

    async def want_nothing(self) -> None:
        """Claim without taking anything, which lets on what is due."""
        await self.ask(self.want(0))

    async def claim_one(self) -> Delivery:
        (delivery,) = await self.claim()
        return delivery

    async def claim_solo(self, *, is_empty: bool = True) -> Any:
        return await self.broker.claim_solo(self.want(1), is_empty=is_empty, turn=30.0)

    async def succeed(self, *deliveries: Delivery, result: bytes | None = None) -> str:
        ended = [(delivery, Succeeded(result)) for delivery in deliveries]
        return await self.broker.acknowledge(QUEUE, self.holder, self.broker.next_request(), ended)

    async def end(self, delivery: Delivery, outcome: Unsuccessful) -> str:
        request = self.broker.next_request()
        return await self.broker.fail(QUEUE, self.holder, request, [(delivery, outcome)])

    async def retry(self, delivery: Delivery, *, after: float = 1) -> str:
        delay = timedelta(seconds=after)
        return await self.end(delivery, Retried(delay, AttemptError("ValueError: no", "frames")))

    async def release(self, *deliveries: Delivery) -> str:
        request = self.broker.next_request()
        return await self.broker.release(QUEUE, self.holder, request, deliveries)


class Engine:
    """A store with one queue in it."""

    def __init__(self, connections: Connections, settings: EngineSettings) -> None:
        self.clock = MovedClock()
        self._processes: list[Process] = []
        self.broker = Broker(connections, settings, self.clock)
        self.sender = DirectSender(
            connections.publisher, settings=settings, clock=self.clock, store=self.broker
        )

    @property
    def redis(self) -> Any:
        return self.broker.connections.publisher

    async def process(self, limits: str = "") -> Process:
        process = Process(self, limits)
        await process.renew()
        self._processes.append(process)
        return process

    async def publish(
        self,
        job_id: str,
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        is_chosen_id: bool = False,
    ) -> bool:
        submission = Submission(job_id, ENVELOPE, delay, at, is_chosen_id)
        return (await self.sender.send(QUEUE, submission)).is_new

    async def submit(
        self,
        job_id: str,
        body: bytes = BODY,
        *,
        delay: float | None = None,
        **traits: Any,
    ) -> Answer:
        """Publish a job that asks for more than to run in its turn; ``delay`` is in seconds."""
        wait = None if delay is None else timedelta(seconds=delay)
        return await self.sender.send(QUEUE, self.submission(job_id, body, delay=wait, **traits))

    def submission(
        self,
        job_id: str,
        body: bytes = BODY,
        *,
        delay: timedelta | None = None,
        **traits: Any,
    ) -> Submission:
        """Return what is submitted, for a call with several."""
        envelope = ENVELOPE.replace(BODY, body)
        return Submission(job_id, envelope, delay, traits=Traits(**traits))

    async def publish_many(self, *job_ids: str, is_chosen_id: bool = False) -> list[bool]:
        submissions = [
            Submission(job_id, ENVELOPE, is_chosen_id=is_chosen_id) for job_id in job_ids
        ]
        return [answer.is_new for answer in await self.sender.send_many(QUEUE, submissions)]

    async def state(self, job_id: str) -> JobState | None:
        return await self.broker.job_state(QUEUE, job_id)

    async def record(self, job_id: str) -> JobRecord:
        record = await self.broker.job_record(QUEUE, job_id)
        assert record is not None
        return record

    async def counts(self) -> dict[JobState, int]:
        counts = await self.broker.count_jobs(QUEUE)
        return {state: count for state, count in counts.items() if count}

    async def upkeep(self) -> list[TakenBack]:
        return (await self.keep_up()).taken

    async def keep_up(self) -> KeptUp:
        broker = WorkerBroker(self.broker.connections, self.broker.settings, self.clock)
        return await broker.upkeep([QUEUE])

    async def lose(self, process: Process) -> list[TakenBack]:
        """Let the lease of a process end while the others renew, and take back what it held."""
        self._processes.remove(process)
        for _ in range(4):
            self.clock.move(seconds=10)
            for other in self._processes:
                await other.renew()
            taken = await self.upkeep()
            if taken:
                return taken
        return []

    async def key(self, suffix: str) -> Any:
        """Return one key's value as plain Python."""
        name = f"rd:{{{QUEUE}}}:{suffix}"
        match await self.redis.type(name):
            case b"hash":
                return await self.redis.hgetall(name)
            case b"list":
                return await self.redis.lrange(name, 0, -1)
            case b"zset":
                return await self.redis.zrange(name, 0, -1)
            case b"set":
                return await self.redis.smembers(name)
            case b"string":
                return await self.redis.get(name)
            case _:
                return None
