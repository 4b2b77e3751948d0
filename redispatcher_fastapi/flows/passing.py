"""Passes on how jobs ended: publishes the next step of a chain, or lets a group's member arrive."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from redispatcher_fastapi.broker.onward import OnwardBroker
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import Submission, Traits
from redispatcher_fastapi.consumer.partition import key_of
from redispatcher_fastapi.errors import PublishError
from redispatcher_fastapi.flows.continuation import (
    Continuation,
    ContinuationError,
    Member,
    Step,
    read_continuation,
)
from redispatcher_fastapi.message import encode_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.onward import EndedJob
    from redispatcher_fastapi.sealing import Sealing

_NULL = b"null"


class Passing:
    """Passes on the ends of jobs that Redis has noted; any number of processes may do so at once.

    What follows a job has an id that was chosen beforehand: publishing it again, after a process
    died before it could tell Redis so, changes nothing.
    """

    def __init__(
        self,
        broker: Broker,
        sealing: Sealing | None,
        *,
        stuck: Callable[[EndedJob, Exception], None],
        onward: OnwardBroker | None = None,
    ) -> None:
        """``stuck`` is told of what cannot be passed on; it is tried again with the next call."""
        self._onward = onward or OnwardBroker(broker.connections.worker_line, broker.clock)
        self._sender = DirectSender.of(broker)
        self._sealing = sealing
        self._stuck = stuck

    async def pass_on(self, queue: str) -> int:
        """Pass on everything of a queue; return how many ends were.

        Raises:
            BrokerError: the queue cannot be read.
        """
        cursor, count = "0", 0
        passed_on: list[EndedJob] = []
        while True:
            cursor, page = await self._onward.read(queue, cursor, passed_on)
            outcomes = await asyncio.gather(*map(self._pass_on_one, page))
            passed_on = [ended for ended, is_done in zip(page, outcomes, strict=True) if is_done]
            count += len(passed_on)
            if cursor == "0":
                break
        if passed_on:
            await self._onward.forget(queue, passed_on)
        return count

    async def _pass_on_one(self, ended: EndedJob) -> bool:
        try:
            continuation = read_continuation(
                ended.continuation, self._sealing, queue=ended.queue, job_id=ended.job_id
            )
            if continuation.member is not None:
                await self._arrive(ended, continuation, continuation.member)
            else:
                await self._publish(continuation, self._result_of(ended, has_result=True))
        except Exception as error:  # whatever it is, the others are to be passed on
            self._stuck(ended, error)
            return False
        return True

    def _result_of(self, ended: EndedJob, *, has_result: bool) -> bytes:
        stored = ended.details or None
        # Nothing is sealed of those that never return anything.
        if self._sealing is not None and (has_result or stored is not None):
            stored = self._sealing.open_result(stored, queue=ended.queue, job_id=ended.job_id)
        return stored or _NULL

    async def _publish(self, continuation: Continuation, body: bytes) -> None:
        step, *rest = continuation.steps
        try:
            await self._sender.send(step.queue, self._submit(step, tuple(rest), body))
        except PublishError as error:
            raise ContinuationError(str(error)) from error

    def _submit(self, step: Step, rest: tuple[Step, ...], body: bytes) -> Submission:
        headers = b"" if step.headers is None else json.dumps(step.headers).encode()
        envelope = encode_envelope(body, headers)
        place = {"queue": step.queue, "job_id": step.job_id}
        if self._sealing is not None:
            envelope = self._sealing.seal_message(envelope, **place)
        follows = Continuation(rest).write(self._sealing, **place) if rest else b""
        traits = Traits(
            level=step.level,
            partition=self._partition_of(step, body),
            expiry=_duration(step.expires_ms),
            continuation=follows,
        )
        return Submission(
            step.job_id,
            envelope,
            delay=_duration(step.delay_ms),
            is_chosen_id=True,
            traits=None if traits == Traits() else traits,
        )

    def _partition_of(self, step: Step, body: bytes) -> str:
        if not step.key:
            return ""
        fields: Any = json.loads(body)
        return key_of([_key_value(fields, name, step) for name in step.key], self._sealing)

    async def _arrive(self, ended: EndedJob, continuation: Continuation, member: Member) -> None:
        join = continuation.steps[0]
        is_success = ended.letter == "S"
        has_result = member.has_result
        details = self._result_of(ended, has_result=has_result) if is_success else _reason(ended)
        arrival = b'{"v":1,"id":"%b","end":%b}' % (ended.job_id.encode(), details)
        place = {"queue": join.queue, "job_id": f"{member.group}.{member.number}"}
        if self._sealing is not None:
            arrival = self._sealing.seal_continuation(arrival, **place)
        arrive = partial(
            self._onward.arrive,
            join.queue,
            member.group,
            member.number,
            member.count,
            ended.letter.encode() + arrival,
            first_failure=member.is_first_failure,
        )
        ends = await arrive()
        if ends is not None:
            await self._publish(continuation, self._collect(join, member, ends))
            await arrive()  # now that what follows is there, the ends are forgotten

    def _collect(self, join: Step, member: Member, ends: Mapping[int, bytes]) -> bytes:
        """Return the message of the job that follows a group."""
        results = [_NULL] * member.count
        failed: list[dict[str, Any]] = []
        for number, stored in sorted(ends.items()):
            arrival = stored[1:]
            if self._sealing is not None:
                arrival = self._sealing.open_continuation(
                    arrival, queue=join.queue, job_id=f"{member.group}.{number}"
                )
            job_id, _, rest = arrival.removeprefix(b'{"v":1,"id":"').partition(b'","end":')
            if stored[:1] == b"S":
                results[number - 1] = rest[:-1]
            else:
                reason: Any = json.loads(rest[:-1])
                failed.append({"number": number - 1, "job_id": job_id.decode(), "reason": reason})
        return b'{"results":[%b],"failed":%b}' % (b",".join(results), json.dumps(failed).encode())


def _reason(ended: EndedJob) -> bytes:
    text = ended.details.decode(errors="replace")
    return json.dumps(text or "cancelled").encode()


def _key_value(fields: Any, name: str, step: Step) -> str | int | None:
    value = cast("dict[str, Any]", fields).get(name) if isinstance(fields, dict) else None
    if value is not None and not isinstance(value, (str, int)):
        raise ContinuationError(
            f"The message for {step.queue!r} has no text in {name!r}, the key of its limits."
        )
    return value


def _duration(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
