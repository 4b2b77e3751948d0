"""The pool's side of the engine: claim, renew, settle, give back, look after."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, Literal

from redispatcher_fastapi.broker.failures import encode_failure
from redispatcher_fastapi.broker.ids import read_id, write_id
from redispatcher_fastapi.broker.records import parse_faults, split_live_record
from redispatcher_fastapi.broker.scripts import (
    ACK,
    CLAIM,
    CLAIM_SOLO,
    DEPART,
    FAIL,
    RELEASE,
    RENEW,
    UPKEEP,
    as_bytes,
    as_text,
    read_hash,
)
from redispatcher_fastapi.broker.types import (
    Cancelled,
    Claimed,
    Delivery,
    Died,
    Grace,
    GraceNote,
    KeptUp,
    Limited,
    Retried,
    Snoozed,
    Succeeded,
    TakenBack,
)
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.keys import are_job_ids, is_job_id, queue_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.scripts import Argument, BlockingClient, Script
    from redispatcher_fastapi.broker.types import EngineSettings, Unsuccessful, Want
    from redispatcher_fastapi.clock import Clock

_TOKEN = re.compile(rb"(\d{1,18}),\d{1,18}\*?")
_GRACE = re.compile(rb"(\d{13}),(\d{1,9}),(-?\d{1,13})")

Verdict = Literal["1", "c", "n", "s", "g"]
"""``1`` accepted; ``n`` accepted, and there is something to pass on; ``c`` accepted, and the job is
cancelled instead of run again; ``s`` stale: the lease was taken, refused; ``g`` gone: Redis lost
the job."""


class WorkerBroker:
    """One round trip per method; every call may be repeated with equal arguments.

    The queues of one call must be on one server: in a cluster, call for each by itself.
    """

    def __init__(self, connections: Connections, settings: EngineSettings, clock: Clock) -> None:
        self._client = connections.worker_line
        self._connections = connections
        self._clock = clock
        self._lease = to_milliseconds(settings.lease)
        min_age = max(2 * settings.publish_timeout, timedelta(0))
        finished: list[Argument] = [
            settings.finished_max_count,
            to_milliseconds(max(settings.finished_max_age, min_age)),
            to_milliseconds(min_age),
            to_milliseconds(settings.chosen_id_memory),
        ]
        self._finished = finished
        self._finished_age = to_milliseconds(max(settings.finished_max_age, min_age))
        self._dead_age = to_milliseconds(settings.dead_max_age)
        self._retention: list[Argument] = [
            *finished,
            settings.dead_max_count,
            self._dead_age,
            settings.max_queue_length,
        ]
        self._requests = count(1)

    async def claim(self, wants: Sequence[Want]) -> Claimed:
        """Take jobs from several queues."""
        arguments: list[Argument] = []
        for want in wants:
            arguments += (
                want.holder,
                want.count,
                want.suspects,
                want.first_sequence,
                want.limits,
            )
        replies = await self._run(CLAIM, [want.queue for want in wants], arguments)
        claimed = Claimed()
        for want, reply in zip(wants, replies, strict=True):
            status, wait, solo, jobs, faults, time = reply[:6]
            if not status:
                claimed.unleased.add(want.queue)
                continue
            if wait >= 0:
                due = timedelta(milliseconds=wait)
                claimed.wait = due if claimed.wait is None else min(claimed.wait, due)
            if solo:
                claimed.has_solo.add(want.queue)
            if jobs:
                claimed.deliveries += _deliveries(want, jobs, faults, as_text(time))
            if len(reply) > 6:
                cancelled, is_paused = reply[6:]
                claimed.cancelled += ((want.queue, read_id(job_id)) for job_id in cancelled or ())
                if is_paused:
                    claimed.paused.add(want.queue)
        return claimed

    async def claim_solo(
        self, want: Want, *, is_empty: bool, turn: float
    ) -> Delivery | Literal["turn"] | None:
        """Take a job that must run alone or, for a busy process, the turn to become empty."""
        arguments: list[Argument] = [
            self._now(),
            want.holder,
            want.first_sequence,
            "1" if is_empty else "",
            int(turn * 1000),
            want.limits,
        ]
        reply = await CLAIM_SOLO.run(self._client, [queue_prefix(want.queue)], arguments)
        match int(reply[0]):
            case 1:
                job_id, record, fault, token = reply[1:5]
                started = as_text(token).rstrip("*").split(",")[1]
                (delivery,) = _deliveries(want, (job_id, record), (fault,), started)
                delivery.token = as_text(token)
                return delivery
            case 2:
                return "turn"
            case _:
                return None

    async def renew(self, holders: Mapping[str, str]) -> dict[str, int | None]:
        """Extend the leases; return how many jobs each holds, ``None`` when given up."""
        replies = await self._run(RENEW, list(holders), [self._lease, *holders.values()])
        return _renewed(holders, replies)

    def renew_blocking(
        self, client: BlockingClient, holders: Mapping[str, str]
    ) -> dict[str, int | None]:
        """Do the same from a thread with a client of its own."""
        prefixes = [queue_prefix(queue) for queue in holders]
        arguments: list[Argument] = [self._now(), self._lease, *holders.values()]
        replies = RENEW.run_blocking(client, prefixes, arguments)
        return _renewed(holders, replies)

    def next_request(self) -> int:
        """Return a number for one call that settles jobs, kept when it is repeated."""
        return next(self._requests)

    async def acknowledge(
        self, queue: str, holder: str, request: int, ended: Sequence[tuple[Delivery, Succeeded]]
    ) -> str:
        """End jobs that succeeded; return one :data:`Verdict` per job."""
        arguments: list[Argument] = [self._now(), holder, request, *self._finished, len(ended)]
        results: list[Argument] = []
        for number, (delivery, outcome) in enumerate(ended, start=1):
            arguments += (write_id(delivery.job_id), delivery.token, _times(delivery))
            if outcome.result is not None:
                results += (number, max(1, to_milliseconds(outcome.result_ttl)), outcome.result)
        arguments += results
        return as_text(await ACK.run(self._client, [queue_prefix(queue)], arguments))

    async def fail(
        self,
        queue: str,
        holder: str,
        request: int,
        ended: Sequence[tuple[Delivery, Unsuccessful]],
    ) -> str:
        """End attempts that did not succeed; return one :data:`Verdict` per job."""
        arguments: list[Argument] = [
            self._now(),
            holder,
            request,
            self._dead_age,
            self._finished_age,
        ]
        for delivery, outcome in ended:
            arguments += (write_id(delivery.job_id), delivery.token)
            match outcome:
                case Retried(delay=delay):
                    arguments += ("retry", to_milliseconds(delay), "")
                case Snoozed(delay=delay):
                    arguments += ("snooze", to_milliseconds(delay), "")
                case Died(reason=reason):
                    arguments += ("dead", 0, reason)
                case Cancelled():
                    arguments += ("cancel", 0, "")
                case Limited(delay=delay, is_queue=is_queue):
                    arguments += ("limited", to_milliseconds(delay), "queue" if is_queue else "")
            arguments.append(encode_failure(outcome))
        return as_text(await FAIL.run(self._client, [queue_prefix(queue)], arguments))

    async def release(
        self, queue: str, holder: str, request: int, deliveries: Sequence[Delivery]
    ) -> str:
        """Give jobs back, first in line and uncharged; return one :data:`Verdict` per job."""
        arguments: list[Argument] = [self._now(), holder, request, self._finished_age]
        for delivery in deliveries:
            arguments += (write_id(delivery.job_id), delivery.token)
        return as_text(await RELEASE.run(self._client, [queue_prefix(queue)], arguments))

    async def depart(self, holders: Mapping[str, str]) -> None:
        """End the lease on every queue where nothing is held any more."""
        await self._run(DEPART, list(holders), list(holders.values()))

    async def read_held(self, queue: str, holder: str) -> list[Delivery]:
        """Return what Redis thinks a process holds, without the messages."""
        fields = await read_hash(self._connections.worker, f"{queue_prefix(queue)}held:{holder}")
        return [
            Delivery(queue, read_id(job_id), holder, int(found[1]), found[0].decode(), b"", None)
            for job_id, found in (
                (key, _TOKEN.fullmatch(as_bytes(value))) for key, value in fields.items()
            )
            if found  # or somebody wrote it by hand: it goes when the lease ends
        ]

    async def upkeep(self, queues: Sequence[str]) -> KeptUp:
        """Take back what lost processes held; forget a piece of what was kept long enough."""
        replies = await self._run(UPKEEP, queues, [self._lease, *self._retention])
        kept = KeptUp()
        for queue, reply in zip(queues, replies, strict=True):
            lease_end, report, has_more, grace, time, is_onward = reply
            kept.graces += _read_grace(queue, as_bytes(grace), int(time))
            if lease_end >= 0:
                end = timedelta(milliseconds=lease_end)
                kept.next_end = end if kept.next_end is None else min(kept.next_end, end)
            kept.has_more = kept.has_more or bool(has_more)
            if is_onward:
                kept.onward.add(queue)
            for index in range(0, len(report), 3):
                job_id, losses, place = report[index : index + 3]
                place = as_text(place)
                kept.taken.append(
                    TakenBack(
                        queue,
                        read_id(job_id),
                        int(losses),
                        is_dead=place == "dead",
                        is_isolated=place == "solo",
                        is_cancelled=place == "cancelled",
                    )
                )
        return kept

    async def _run(
        self, script: Script, queues: Sequence[str], arguments: Sequence[Argument]
    ) -> list[Any]:
        prefixes = [queue_prefix(queue) for queue in queues]
        replies: list[Any] = await script.run(self._client, prefixes, [self._now(), *arguments])
        return replies

    def _now(self) -> Argument:
        now = self._clock.now()
        return "" if now is None else to_milliseconds(now)


def _deliveries(
    want: Want, jobs: Sequence[bytes | str], faults: Sequence[bytes | str] | None, started: str
) -> list[Delivery]:
    """Return what a claim brought: ids and records in turn; ``faults`` of each, or of none."""
    started_ms = int(started)
    deliveries: list[Delivery] = []
    ids = [read_id(job_id) for job_id in jobs[::2]]
    are_all_ids = are_job_ids(ids)
    brought = zip(ids, jobs[1::2], faults or repeat(b""), strict=False)
    for sequence, (job_id, record, fault) in enumerate(brought, start=want.first_sequence):
        published_ms, is_chosen_id, envelope = split_live_record(as_bytes(record))
        if not are_all_ids and not is_job_id(job_id):
            published_ms = None  # somebody wrote the record by hand
        errors, losses = parse_faults(fault) if fault else (0, 0)
        deliveries.append(
            Delivery(
                want.queue,
                job_id,
                want.holder,
                sequence,
                f"{sequence},{started}",
                envelope,
                published_ms,
                is_chosen_id,
                errors + 1,
                losses,
                started_ms,
            )
        )
    return deliveries


def _times(delivery: Delivery) -> str:
    """Return how long a job ran and waited, as a finished job's record keeps it."""
    published_ms = delivery.published_ms
    wait = 0 if published_ms is None else delivery.started_ms - published_ms
    return f"{int(delivery.ran_for * 1000)},{wait}{'!' if delivery.is_chosen_id else ''}"


def _renewed(holders: Mapping[str, str], replies: Sequence[int]) -> dict[str, int | None]:
    return {
        queue: (None if held < 0 else int(held))
        for queue, held in zip(holders, replies, strict=True)
    }


def _read_grace(queue: str, note: bytes, now_ms: int) -> list[GraceNote]:
    """Return the note of leases that began anew, if there is one."""
    found = _GRACE.fullmatch(note)
    if not found:
        return []  # or somebody wrote it by hand
    at, holders, gap = map(int, found.groups())
    grace = Grace(queue, holders, timedelta(milliseconds=gap))
    return [GraceNote(grace, note, timedelta(milliseconds=now_ms - at))]
