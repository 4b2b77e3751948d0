"""What operators and onlookers do, to the real engine and to the model alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.records import parse_record
from redispatcher_fastapi.clock import from_milliseconds
from redispatcher_fastapi.job import JobRecord, JobState, Priority
from redispatcher_fastapi.keys import queue_prefix
from tests.model import operations
from tests.model.controls import Controls
from tests.model.jobs import Ending, Faults, Job
from tests.model.queue import Queue

#: Whoever cancels a job that runs tells its process, each time.
_POKES = frozenset({"poke"})
_LONG = 300_000


class Looking(Controls):
    """One call per method, see :class:`Comparison`."""

    def cancel(self, queue: str, job_id: str, *, is_to_come: bool = False) -> int:
        answer = self.call(
            scripts.CANCEL,
            [queue],
            [job_id, self.limits.finished_age, "1" if is_to_come else ""],
            lambda: operations.cancel(self.queues[queue], job_id, is_to_come=is_to_come),
            int,
            is_refused=lambda answer: answer <= 0,
            is_repeated=lambda _: None,
            besides=_POKES,
        )
        self._keep_pokes(queue)
        return answer

    def _keep_pokes(self, queue: str) -> None:
        """Let what was pushed stay for longer than a slow machine takes for all that follows."""
        model = self.queues[queue]
        for name, (pushed, ttl) in model.pokes.items():
            if ttl < _LONG:
                model.pokes[name] = (pushed, _LONG)
                self.client.execute_command("PEXPIRE", f"{queue_prefix(queue)}poke:{name}", _LONG)

    def redrive(self, queue: str, job_id: str) -> int:
        return self.call(
            scripts.REDRIVE,
            [queue],
            [job_id],
            lambda: operations.redrive(self.queues[queue], job_id),
            int,
            is_refused=lambda answer: answer != 1,
            is_repeated=lambda _: None,
        )

    def delete(self, queue: str, job_id: str) -> int:
        return self.call(
            scripts.DELETE,
            [queue],
            [job_id],
            lambda: operations.delete(self.queues[queue], job_id),
            int,
            is_refused=lambda answer: answer != 1,
            is_repeated=lambda _: None,
        )

    def counts(self, queue: str) -> list[int]:
        return self.call(
            scripts.COUNTS,
            [queue],
            [],
            lambda: operations.counts(self.queues[queue]),
            list,
            is_refused=lambda _: True,
        )

    def list_ids(self, queue: str, state: JobState, skip: int, count: int) -> list[str]:
        return self.call(
            scripts.LIST,
            [queue],
            [state.value, skip, count],
            lambda: operations.list_ids(self.queues[queue], state, skip, count),
            lambda reply: [job_id.decode() for job_id in reply],
            is_refused=lambda _: True,
        )

    def watch(
        self, queue: str, job_id: str, *, is_to_come: bool = False, is_followed: bool = False
    ) -> list[str | bytes]:
        return self.call(
            scripts.WATCH,
            [queue],
            [job_id, "1" if is_to_come else "", "1" if is_followed else ""],
            lambda: operations.watch(
                self.queues[queue], job_id, is_to_come=is_to_come, is_followed=is_followed
            ),
            _read_watch,
            is_refused=lambda answer: answer != ["waiting"],
        )

    def poke(self, queue: str, name: str, ttl: int) -> int:
        def expect() -> int:
            self.queues[queue].pokes[name] = (["1"], ttl)
            return 1

        return self.call(scripts.POKE, [queue], [name, ttl], expect, int)

    def record(self, queue: str, job_ids: Sequence[str]) -> list[tuple[object, ...] | None]:
        """Compare what the library reads back of some jobs, known ones and others."""

        def read(reply: Any) -> list[tuple[object, ...] | None]:
            return [
                _shown(parse_record(queue, job_id, one), one[2]) if one else None
                for job_id, one in zip(job_ids, reply, strict=True)
            ]

        return self.call(
            scripts.RECORD,
            [queue],
            ["1", *job_ids],
            lambda: [_expect_shown(self.queues[queue], job_id) for job_id in job_ids],
            read,
            is_refused=lambda _: True,
        )

    def take_token(self, queue: str) -> None:
        """Take the wake-up token, as a pool that waits does."""
        taken = self.client.execute_command("LPOP", f"{queue_prefix(queue)}wake")
        assert (taken == b"1") is self.queues[queue].has_token
        self.queues[queue].has_token = False
        self.compare("taking the token")

    def expire(self, queue: str, kind: str) -> None:
        """Let the time to live of one kind of key be over, which Redis measures by itself."""
        model = self.queues[queue]
        gone: list[str]
        match kind:
            case "watched":
                gone = [kind] if model.watched else []
                model.watched = set()
            case "poke":
                gone = [f"poke:{name}" for name in model.pokes]
                model.pokes = {}
            case "held_back":
                gone = [kind] if model.is_held_back else []
                model.is_held_back = False
            case "starts":
                gone = [f"starts:{key}" if key else kind for key in model.starts]
                model.starts = {}
            case "joins":
                gone = [f"joins:{group}" for group in model.joins]
                model.joins = {}
            case "turn":
                gone = [kind] if model.turn else []
                model.turn = None
            case "grace":
                gone = [kind] if model.grace else []
                model.grace = ""
            case "result":
                gone = [f"result:{job_id}" for job_id in model.results]
                model.results = {}
            case "calls":
                ids = [holder for holder, calls in model.calls.items() if calls.ttl is not None]
                gone = [f"calls:{holder}" for holder in ids]
                for holder in ids:
                    del model.calls[holder]
            case _:
                ids = [one for one, history in model.histories.items() if history.ttl is not None]
                gone = [f"history:{job_id}" for job_id in ids]
                for job_id in ids:
                    del model.histories[job_id]
        if gone:
            self.client.execute_command("DEL", *(queue_prefix(queue) + key for key in gone))
            self.compare("expiry")


def _read_watch(reply: Any) -> list[str | bytes]:
    state, *rest = reply
    name: str = state.decode()
    return [name, *(rest if name == "succeeded" else [part.decode() for part in rest])]


def _shown(record: JobRecord, faults: bytes) -> tuple[object, ...]:
    return (
        record.state,
        record.attempts,
        record.losses,
        record.reason,
        record.published_at,
        record.due_at,
        record.started_at,
        record.finished_at,
        len(record.history),
        faults.decode(),
        record.is_cancelling,
        record.is_followed,
        record.priority,
        record.partition,
        record.expires_at,
    )


def _expect_shown(queue: Queue, job_id: str) -> tuple[object, ...] | None:
    job = queue.jobs.get(job_id)
    if job is None:
        return None
    history = queue.histories[job_id].lines if job_id in queue.histories else []
    faults = ",".join(map(str, job.faults)) if job.faults else ""
    if job.ending is not None:
        end = job.ending
        started = end.at - end.run
        shown = _last_start(job, end, history)
        times: tuple[int | None, ...] = (started - end.wait, None, shown, end.at)
        sums: tuple[int, int, str | None] = (end.attempts, end.losses, end.reason)
    else:
        times, sums = _expect_live(queue, job)
    return (
        job.state,
        *sums,
        *(None if time is None else from_milliseconds(time) for time in times),
        len(history),
        faults,
        job_id in queue.cancelling,
        job.follows is not None,
        Priority(job.level),
        job.partition,
        None if job.expires is None else from_milliseconds(job.expires),
    )


def _last_start(job: Job, end: Ending, history: list[str]) -> int | None:
    if not end.attempts and not end.losses:
        return None
    if job.state is JobState.CANCELLED and not end.run and history:
        return int(history[-1].partition(",")[0])
    return end.at - end.run


def _expect_live(
    queue: Queue, job: Job
) -> tuple[tuple[int | None, ...], tuple[int, int, str | None]]:
    faults = job.faults or Faults()
    holder = queue.holder_of(job.id)
    due = job.due if job.state in {JobState.SCHEDULED, JobState.RETRYING} else None
    started = queue.held[holder][job.id].started if holder else None
    attempts = faults.errors + (1 if holder else 0)
    return (job.published, due, started, None), (attempts, faults.losses, None)
