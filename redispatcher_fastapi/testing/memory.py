"""The store of one test: the engine's scripts in memory, and a note of all that was published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.ids import read_id
from redispatcher_fastapi.broker.publishing import CONFLICTS, FULL, read_answers
from redispatcher_fastapi.broker.scripts import CANCEL, PUBLISH, SCHEDULE_FIRE, as_bytes, as_text
from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds
from redispatcher_fastapi.dsn import parse_dsn
from redispatcher_fastapi.job import JobState, Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from datetime import datetime
    from typing import TypeVar

    from redispatcher_fastapi.broker.clients import AsyncClient, SyncClient
    from redispatcher_fastapi.broker.types import EngineSettings
    from redispatcher_fastapi.testing.clock import FakeClock

    T = TypeVar("T")

_SCRIPT_COMMANDS = frozenset({"EVAL", "EVALSHA"})
_PUBLISH = frozenset({PUBLISH.digest, PUBLISH.source})
_FIRE = frozenset({SCHEDULE_FIRE.digest, SCHEDULE_FIRE.source})
_CANCEL = frozenset({CANCEL.digest, CANCEL.source})
_TO_BE_CANCELLED = 2


@dataclass(frozen=True, slots=True)
class Publication:
    """One new job as it was when it was published."""

    queue: str
    job_id: str
    envelope: bytes
    published_at: datetime
    due_at: datetime
    priority: Priority = Priority.NORMAL
    expires_at: datetime | None = None
    is_unique: bool = False


class MemoryClient:
    """An asynchronous client that never waits, and so serves every event loop and every thread.

    The engine's scripts get the time of ``clock``, also those of a publisher that has no clock
    of its own.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._client: SyncClient = Connections(parse_dsn("memory://")).heartbeat()
        self._clock = clock
        self._lock = Lock()
        #: Called with queue and id when somebody cancels a job that runs.
        self.cancel_listeners: list[Callable[[str, str], None]] = []
        #: Everything published so far, in order.
        self.publications: list[Publication] = []

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        command = list(args)
        is_script = command[0] in _SCRIPT_COMMANDS
        if is_script:
            self._give_time(command)
        with self._lock:
            reply = self._client.execute_command(*command, **options)
            if is_script and command[1] in _PUBLISH:
                arguments = command[3 + int(command[2]) :]
                letters, others = read_answers(reply)
                self.publications += _read_publications(command[3], arguments, letters)
                for letter, change in _read_changes(command[3], arguments, letters, others):
                    self._change(letter, change)
            elif is_script and command[1] in _FIRE:
                arguments = command[3 + int(command[2]) :]
                self.publications += _read_fired(command[3], arguments, reply)
        if is_script and command[1] in _CANCEL and reply == _TO_BE_CANCELLED:
            queue, job_id = _queue_of(command[3]), read_id(command[4 + int(command[2])])
            for listener in [*self.cancel_listeners]:
                listener(queue, job_id)
        return reply

    def _change(self, letter: str, by: Publication) -> None:
        """Note that the message of a job was replaced by a later one."""
        for index, job in enumerate(self.publications):
            if (job.queue, job.job_id) == (by.queue, by.job_id):
                changed = replace(job, envelope=by.envelope)
                if letter == "p":
                    changed = replace(changed, published_at=by.published_at, due_at=by.due_at)
                if job.expires_at is not None:
                    changed = replace(changed, expires_at=by.expires_at)
                self.publications[index] = changed

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._client.execute_command("FLUSHALL")
            self.publications.clear()

    async def aclose(self) -> None:
        """Do what closing a client does: nothing is lost, and it can be used again."""
        self._client.close()

    def _give_time(self, command: list[Any]) -> None:
        first = 3 + int(command[2])
        if len(command) > first and command[first] == "":
            command[first] = to_milliseconds(self._clock.now())


class MemoryBroker(Broker):
    """The engine on a :class:`MemoryClient`.

    Who waits for a result has what is due run meanwhile, for no pool is there to do it.
    """

    def __init__(
        self,
        client: MemoryClient,
        settings: EngineSettings,
        clock: FakeClock,
        *,
        run_next: Callable[[], Awaitable[bool]],
    ) -> None:
        # A connection may be of any client that executes commands; the annotation is narrower.
        super().__init__(Connections.around(cast("AsyncClient", client)), settings, clock)
        self.client = client
        self._run_next = run_next

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        await self._run_until_ended(queue, job_id, to_come=may_come)
        return await super().wait_for_result(queue, job_id, timeout, may_come=may_come)

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        await self._run_until_ended(queue, job_id, to_come=may_come)
        return await super().wait_for_step(queue, job_id, may_come=may_come)

    async def _run_until_ended(self, queue: str, job_id: str, *, to_come: bool) -> None:
        while True:
            state = await self.job_state(queue, job_id)
            is_missing = state is None and (not to_come or await self.is_remembered(queue, job_id))
            if is_missing or (state and (state.is_finished or state is JobState.RUNNING)):
                return
            if not await self._run_next():
                raise TimeoutError(
                    f"Job {job_id} in queue {queue!r} is {state or 'not there yet'}, and nothing "
                    "else is due in this test: move the tester's clock, or let the tester run the "
                    "job's consumer."
                )


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that uses nothing but a :class:`MemoryClient`.

    It never waits, so it needs no event loop, and may be run inside of one.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("A coroutine of the in-memory store waited for something.")


def _read_publications(
    prefix: str, arguments: Sequence[Any], answers: str
) -> Iterator[Publication]:
    """Read what ``publish.lua`` was given, as its header describes it, and keep the new jobs."""
    each = int(arguments[3])
    return _read_jobs(prefix, int(arguments[0]), arguments[4:], each, answers)


def _read_fired(
    prefix: str, arguments: Sequence[Any], answers: Sequence[bytes | str]
) -> Iterator[Publication]:
    """Read what ``schedule_fire.lua`` was given, and keep the new jobs."""
    at = 2
    for answer in answers:
        first, count = at + 8, int(arguments[at + 7])
        at = first + FULL * count
        letters = as_text(answer)
        if len(letters) == count:  # or it is a word, for there are no jobs
            yield from _read_jobs(prefix, int(arguments[0]), arguments[first:at], FULL, letters)


def _read_jobs(
    prefix: str, now: int, values: Sequence[Any], each: int, answers: str
) -> Iterator[Publication]:
    for index, answer in enumerate(answers):
        if answer == "1":
            yield _read_job(prefix, now, values[each * index : each * (index + 1)])


def _read_changes(
    prefix: str, arguments: Sequence[Any], answers: str, others: Sequence[str]
) -> Iterator[tuple[str, Publication]]:
    """Return the messages that were given to jobs which were there before, with their answers."""
    now, each, found = int(arguments[0]), int(arguments[3]), iter(others)
    for index, answer in enumerate(answers):
        if answer in CONFLICTS:
            other = next(found)
            if answer in "rp":
                first = 4 + each * index
                values = [other, *arguments[first + 1 : first + each]]
                yield answer, _read_job(prefix, now, values)


def _read_job(prefix: str, now: int, values: Sequence[Any]) -> Publication:
    job_id, envelope, *more = values
    due, _, level, _, expiry, lock, *_ = [*more, *[""] * FULL][:FULL]
    published_at = from_milliseconds(now)
    return Publication(
        _queue_of(prefix),
        job_id,
        as_bytes(envelope),
        published_at,
        max(published_at, _read_time(due, published_at)),
        priority=Priority(level or Priority.NORMAL),
        expires_at=_read_time(expiry, published_at) if expiry else None,
        is_unique=bool(lock),
    )


def _queue_of(prefix: str) -> str:
    return prefix.removeprefix("rd:{").removesuffix("}:")


def _read_time(text: str, published_at: datetime) -> datetime:
    if not text:
        return published_at
    milliseconds = int(text[1:])
    if text[0] == "d":
        return published_at + timedelta(milliseconds=milliseconds)
    return from_milliseconds(milliseconds)
