"""Schedules in Redis: which are due, and their jobs, made once per tick whoever asks."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from os import urandom
from typing import TYPE_CHECKING, Any, Literal

from redispatcher_fastapi.broker.publishing import job_values
from redispatcher_fastapi.broker.scripts import (
    SCHEDULE_CHANGE,
    SCHEDULE_DECLARE,
    SCHEDULE_FIRE,
    SCHEDULE_LOOK,
    SCHEDULE_PUT,
    SCHEDULE_READ,
    as_bytes,
    as_text,
)
from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient, Script
    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.clock import Clock

#: The version of code that declares no schedules.
NO_SCHEDULES = "-"
#: A version of the code that has not looked for so long has no pools any more: they look every 5 s.
VERSION_PATIENCE = timedelta(seconds=30)

_STORED = re.compile(rb"([dr])([A-Za-z0-9_-]+)\n(.*)", re.DOTALL)
_STATE = re.compile(r"([01]),([01]),(\d{0,15}),(\d{1,15}),(\d{1,15}),([^,]*)")
_OVERLAPS = {"allow": "a", "skip": "s", "queue": "q"}

Change = Literal["pause", "resume", "delete"]


@dataclass(frozen=True, slots=True)
class FiredState:
    """What became of a schedule until now."""

    is_paused: bool = False
    is_waiting: bool = False
    last_tick: datetime | None = None
    made: int = 0
    passed_over: int = 0
    last_job_id: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One schedule in Redis; ``definition`` is as it was stored, perhaps sealed."""

    id: str
    is_declared: bool
    revision: str
    definition: bytes
    tick: datetime | None
    state: FiredState


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the schedules of one queue brought; ``now`` is the time in Redis."""

    now: datetime
    must_declare: bool
    wait: timedelta | None
    due: list[ScheduleEntry] = field(default_factory=list[ScheduleEntry])


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to become of one schedule; ``tick`` is ``None`` for a run beside its ticks.

    ``newest`` is the newest tick that this deals with, ``next`` the one after it.
    """

    entry: ScheduleEntry
    tick: datetime | None
    next: datetime | None
    newest: datetime | None
    overlap: str
    passed_over: int
    submissions: Sequence[Submission]


@dataclass(frozen=True, slots=True)
class Declaration:
    """One schedule of the code; ``definition`` is ``None`` where Redis has it already."""

    id: str
    definition: bytes | None
    tick: datetime | None
    keeps_tick: bool


class ScheduleBroker:
    """One round trip per method; every call may be repeated with equal arguments."""

    def __init__(self, client: CommandClient, clock: Clock, *, max_queue_length: int) -> None:
        self._client = client
        self._clock = clock
        self._max_queue_length = max_queue_length

    async def look(
        self, versions: Mapping[str, str], *, began: Mapping[str, datetime]
    ) -> dict[str, Look]:
        """Tell which schedules of some queues are due, and say which version is declared here.

        ``began`` has when the caller first looked, by the clock of Redis.
        """
        arguments: list[Argument] = [to_milliseconds(VERSION_PATIENCE)]
        for queue, version in versions.items():
            since = began.get(queue)
            arguments += (version, "" if since is None else to_milliseconds(since))
        replies = await self._run(SCHEDULE_LOOK, list(versions), arguments)
        return {
            queue: Look(
                now=from_milliseconds(int(now)),
                must_declare=as_text(must_declare) == "1",
                wait=timedelta(milliseconds=wait) if wait >= 0 else None,
                due=_read_entries(due),
            )
            for queue, (now, must_declare, wait, due) in zip(versions, replies, strict=True)
        }

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[str]:
        """Make the jobs of schedules, each of which only if nobody else has.

        Returns per schedule what ``schedule_fire.lua`` says.
        """
        arguments: list[Argument] = [self._max_queue_length]
        for each in firings:
            arguments += (
                each.entry.id,
                each.entry.revision,
                _time(each.tick),
                _time(each.next),
                _time(each.newest) or 0,
                _OVERLAPS[each.overlap],
                each.passed_over,
                len(each.submissions),
            )
            for submission in each.submissions:
                arguments += job_values(submission)
        return [as_text(answer) for answer in await self._run(SCHEDULE_FIRE, [queue], arguments)]

    async def declare(self, queue: str, version: str, declarations: Sequence[Declaration]) -> bool:
        """Put declared schedules in the place of those before, unless a newer version did."""
        arguments: list[Argument] = [version]
        for each in declarations:
            stored = b"" if each.definition is None else _store(each.definition, is_declared=True)
            arguments += (each.id, stored, _time(each.tick), "1" if each.keeps_tick else "")
        return bool(await self._run(SCHEDULE_DECLARE, [queue], arguments))

    async def read(
        self, queue: str, ids: Sequence[str]
    ) -> tuple[datetime, dict[str, ScheduleEntry]]:
        """Return the time in Redis, and those of some schedules that there are."""
        return _read_page(await self._run(SCHEDULE_READ, [queue], ["", *ids]))

    async def read_page(
        self, queue: str, *, after: str, limit: int
    ) -> tuple[datetime, dict[str, ScheduleEntry]]:
        """Return some of all schedules, in the order of their ids."""
        return _read_page(await self._run(SCHEDULE_READ, [queue], [limit, after]))

    async def put(
        self,
        queue: str,
        schedule_id: str,
        definition: bytes,
        *,
        before: ScheduleEntry | None,
        tick: datetime | None,
        keeps_tick: bool,
    ) -> bool:
        """Make a schedule at run time, or replace it as it was ``before``.

        Returns whether it was still so.
        """
        arguments: list[Argument] = [
            schedule_id,
            "" if before is None else before.revision,
            _store(definition, is_declared=False),
            _time(tick),
            "1" if keeps_tick else "",
        ]
        return bool(await self._run(SCHEDULE_PUT, [queue], arguments))

    async def change(
        self,
        queue: str,
        schedule_id: str,
        change: Change,
        *,
        revision: str = "",
        tick: datetime | None = None,
    ) -> int:
        """Pause, resume or delete a schedule; answers as ``schedule_change.lua`` says."""
        patience = to_milliseconds(VERSION_PATIENCE)
        arguments: list[Argument] = [schedule_id, change, revision, _time(tick), patience]
        return int(await self._run(SCHEDULE_CHANGE, [queue], arguments))

    async def _run(
        self, script: Script, queues: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        now = self._clock.now()
        time: Argument = "" if now is None else to_milliseconds(now)
        prefixes = [queue_prefix(queue) for queue in queues]
        return await script.run(self._client, prefixes, [time, *arguments])


def _store(definition: bytes, *, is_declared: bool) -> bytes:
    """Return what Redis keeps: with a revision of its own, for others to notice a change."""
    revision = urlsafe_b64encode(urandom(9))
    return b"%b%b\n%b" % (b"d" if is_declared else b"r", revision, definition)


def _time(time: datetime | None) -> Argument:
    return "" if time is None else to_milliseconds(time)


def _read_page(reply: Sequence[Any]) -> tuple[datetime, dict[str, ScheduleEntry]]:
    return from_milliseconds(int(reply[0])), {each.id: each for each in _read_entries(reply[1:])}


def _read_entries(values: Sequence[Any]) -> list[ScheduleEntry]:
    found = (_read_entry(*values[index : index + 4]) for index in range(0, len(values), 4))
    return [entry for entry in found if entry is not None]


def _read_entry(
    schedule_id: bytes | str, stored: bytes | str, tick: bytes | str, state: bytes | str
) -> ScheduleEntry | None:
    """Return one schedule; ``None`` if there is none, or somebody wrote it by hand."""
    found = _STORED.fullmatch(as_bytes(stored))
    if found is None:
        return None
    return ScheduleEntry(
        id=as_bytes(schedule_id).decode("utf-8", "surrogateescape"),
        is_declared=found[1] == b"d",
        revision=found[2].decode(),
        definition=found[3],
        tick=from_milliseconds(int(tick)) if tick else None,
        state=_read_state(as_bytes(state).decode("utf-8", "replace")),
    )


def _read_state(text: str) -> FiredState:
    found = _STATE.fullmatch(text)
    if found is None:
        return FiredState()
    paused, waiting, tick, made, passed_over, job_id = found.groups()
    return FiredState(
        is_paused=paused == "1",
        is_waiting=waiting == "1",
        last_tick=from_milliseconds(int(tick)) if tick else None,
        made=int(made),
        passed_over=int(passed_over),
        last_job_id=job_id or None,
    )
