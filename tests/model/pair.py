"""What publishers and pools do, to the real engine and to the model alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.records import parse_faults, split_live_record
from redispatcher_fastapi.broker.scripts import Argument
from tests.model import claiming, leasing, publishing, settling
from tests.model.claiming import Claim, Taken, Want
from tests.model.jobs import Delivery, Faults
from tests.model.leasing import Upkeep
from tests.model.looking import Looking
from tests.model.publishing import Message, Published
from tests.model.serving import Budget
from tests.model.settling import Settled


class Pair(Looking):
    """One call per method; each raises ``AssertionError`` where the engine is not as the model."""

    def publish(self, queue: str, messages: Sequence[Message], needed: int | None) -> Published:
        each = 2 if not any(one.due or one.is_chosen for one in messages) else 4
        each = 10 if any(one.has_traits for one in messages) else each
        arguments: list[Argument] = [self.limits.queue_length, "" if needed is None else needed]
        arguments.append(each)
        for one in messages:
            values = (one.id, one.envelope, one.due, "1" if one.is_chosen else "", *one[4:])
            arguments += values[:each]
        model = self.queues[queue]
        # Whoever finds a lock whose job has expired ends that job, also where there is no room.
        is_over = any(job.expires and job.expires <= model.now for job in model.jobs.values())
        return self.call(
            scripts.PUBLISH,
            [queue],
            arguments,
            lambda: publishing.publish(model, messages, needed),
            _read_published,
            is_refused=lambda answer: set(answer.letters) <= set("0fux") and not is_over,
            is_repeated=lambda _: None,
        )

    def claim(self, wants: Sequence[Want]) -> list[Claim]:
        arguments = [part for want in wants for part in want[1:]]

        def expect() -> list[Claim]:
            budget = Budget()
            return [claiming.claim(self.queues[want.queue], want, budget) for want in wants]

        return self.call(
            scripts.CLAIM,
            [want.queue for want in wants],
            arguments,
            expect,
            lambda reply: [
                _read_claim(one, want.first) for one, want in zip(reply, wants, strict=True)
            ],
            is_refused=lambda claims: not any(one.has_lease for one in claims),
            is_repeated=lambda claims: (
                [one.taken for one in claims] if all(one.taken for one in claims) else None
            ),
        )

    def claim_solo(
        self, queue: str, holder: str, sequence: int, limits: str, *, is_empty: bool, turn: int
    ) -> Taken | bool:
        has_lease = holder in self.queues[queue].leases
        return self.call(
            scripts.CLAIM_SOLO,
            [queue],
            [holder, sequence, "1" if is_empty else "", turn, limits],
            lambda: claiming.claim_solo(
                self.queues[queue], holder, sequence, limits, is_empty=is_empty, turn=turn
            ),
            _read_solo,
            is_refused=lambda _: not has_lease,
        )

    def acknowledge(
        self, queue: str, holder: str, request: int, settled: Sequence[Settled], result_ttl: int
    ) -> str:
        limits = self.limits
        arguments: list[Argument] = [holder, request, limits.finished_count, limits.finished_age]
        arguments += (limits.finished_min_age, limits.id_memory, len(settled))
        for one in settled:
            arguments += (one.id, one.token, f"{one.run},{one.wait}{'!' if one.is_chosen else ''}")
        for number, one in enumerate(settled, start=1):
            if one.result is not None:
                arguments += (number, result_ttl, one.result)
        return self.call(
            scripts.ACK,
            [queue],
            arguments,
            lambda: settling.acknowledge(
                self.queues[queue], holder, str(request), settled, result_ttl
            ),
            bytes.decode,
            is_refused=lambda answer: not set(answer) & set("1n"),
            besides=frozenset({f"calls:{holder}"}),
        )

    def fail(self, queue: str, holder: str, request: int, settled: Sequence[Settled]) -> str:
        arguments: list[Argument] = [holder, request, self.limits.dead_age]
        arguments.append(self.limits.finished_age)
        for one in settled:
            arguments += (one.id, one.token, one.action, one.delay, one.reason, one.error)
        return self.call(
            scripts.FAIL,
            [queue],
            arguments,
            lambda: settling.fail(self.queues[queue], holder, str(request), settled),
            bytes.decode,
            is_refused=lambda answer: not set(answer) & set("1cn"),
            besides=frozenset({f"calls:{holder}"}),
        )

    def release(self, queue: str, holder: str, request: int, settled: Sequence[Settled]) -> str:
        arguments: list[Argument] = [holder, request, self.limits.finished_age]
        for one in settled:
            arguments += (one.id, one.token)
        return self.call(
            scripts.RELEASE,
            [queue],
            arguments,
            lambda: settling.release(self.queues[queue], holder, str(request), settled),
            bytes.decode,
            is_refused=lambda answer: not set(answer) & set("1cn"),
            besides=frozenset({f"calls:{holder}"}),
        )

    def renew(self, queues: Sequence[str], holder: str) -> list[int]:
        return self.call(
            scripts.RENEW,
            queues,
            [self.limits.lease, *[holder for _ in queues]],
            lambda: [leasing.renew(self.queues[queue], holder) for queue in queues],
            list,
            is_refused=lambda held: all(count == -1 for count in held),
            besides=frozenset({"leases", "grace"}),
        )

    def depart(self, queues: Sequence[str], holder: str) -> list[int]:
        return self.call(
            scripts.DEPART,
            queues,
            [holder for _ in queues],
            lambda: [leasing.depart(self.queues[queue], holder) for queue in queues],
            list,
            is_refused=lambda ended: not any(ended),
        )

    def upkeep(self, queues: Sequence[str]) -> list[Upkeep]:
        limits = self.limits
        return self.call(
            scripts.UPKEEP,
            queues,
            [
                limits.lease,
                limits.finished_count,
                limits.finished_age,
                limits.finished_min_age,
                limits.id_memory,
                limits.dead_count,
                limits.dead_age,
                limits.queue_length,
            ],
            lambda: [leasing.keep_up(self.queues[queue]) for queue in queues],
            lambda reply: [_read_upkeep(one) for one in reply],
            is_repeatable=False,
        )


def _read_published(reply: Any) -> Published:
    parts = cast("list[bytes]", reply) if isinstance(reply, list) else [reply]
    return Published(parts[0].decode(), [other.decode() for other in parts[1:]])


def _read_claim(reply: Any, first: int) -> Claim:
    status, wait, solo, jobs, faults, started = reply[:6]
    cancelled, is_paused = reply[6:] or (None, False)
    taken: list[Taken] = []
    for place in range(len(jobs or ()) // 2):
        job_id, record = jobs[2 * place : 2 * place + 2]
        delivery = Delivery(first + place, int(started))
        taken.append(_read_taken(job_id, record, faults[place] if faults else b"", delivery))
    ids = frozenset(job_id.decode() for job_id in cancelled or ())
    return Claim(bool(status), int(wait), int(solo), taken, ids, bool(is_paused))


def _read_solo(reply: Any) -> Taken | bool:
    if reply[0] != 1:
        return bool(reply[0] == 2)
    _, job_id, record, faults, token = reply
    sequence, started = token.decode().removesuffix("*").split(",")
    delivery = Delivery(int(sequence), int(started), is_alone=token.endswith(b"*"))
    return _read_taken(job_id, record, faults, delivery)


def _read_taken(job_id: bytes, record: bytes, faults: bytes, delivery: Delivery) -> Taken:
    published, is_chosen, envelope = split_live_record(record)
    assert published is not None
    counts = Faults(*map(int, faults.split(b","))) if faults else Faults()
    assert parse_faults(faults) == counts[:2]
    return Taken(job_id.decode(), published, is_chosen, envelope, counts, delivery)


def _read_upkeep(reply: Any) -> Upkeep:
    next_end, report, has_more, grace, time, is_onward = reply
    taken_back = [
        (report[at].decode(), int(report[at + 1]), report[at + 2].decode())
        for at in range(0, len(report), 3)
    ]
    looked = (bool(has_more), grace.decode(), int(time), bool(is_onward))
    return Upkeep(int(next_end), taken_back, *looked)
