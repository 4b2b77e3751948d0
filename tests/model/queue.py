"""The state of one queue in the model, and the moves that several operations share."""

from __future__ import annotations

from dataclasses import dataclass

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Calls, Control, Delivery, Ending, History, Job, Limits
from tests.model.lines import Lines

KEPT_ATTEMPTS = 20
CALLS_TTL = 600_000


@dataclass
class Clock:
    """The time in milliseconds, the same for every queue."""

    now: int


class Queue(Lines):
    """Everything the engine knows of one queue.

    A job waits or is finished by its ``state``; only where order matters there is a list besides:
    those of the jobs that can run, and the order in which jobs finished.
    """

    def __init__(self, name: str, limits: Limits, clock: Clock) -> None:
        super().__init__()
        self.name = name
        self.limits = limits
        self.clock = clock
        self.finished: dict[JobState, list[str]] = {
            JobState.SUCCEEDED: [],
            JobState.CANCELLED: [],
        }
        self.held: dict[str, dict[str, Delivery]] = {}
        self.leases: dict[str, int] = {}
        self.last_look: int | None = None
        self.calls: dict[str, Calls] = {}
        self.histories: dict[str, History] = {}
        self.results: dict[str, tuple[bytes, int]] = {}
        self.remembered: dict[str, int] = {}
        #: Jobs that run, and that somebody has cancelled.
        self.cancelling: set[str] = set()
        self.watched: set[str] = set()
        self.announced: list[str] = []
        #: What was pushed for a process that waits, and the milliseconds it has to take it.
        self.pokes: dict[str, tuple[list[str], int]] = {}
        self.turn: tuple[str, int, int] | None = None
        self.grace = ""
        self.control = Control()
        #: By partition, "" for the whole queue: ``<id>,<time>`` of each start, and how long the
        #: last rule wants them to be known.
        self.starts: dict[str, tuple[dict[str, int], int]] = {}
        #: Whether a limit keeps jobs back until another one ends.
        self.is_held_back = False
        #: Whether some job, or an operator, asked for more than to run jobs in turn.
        self.is_special = False
        #: Key of a lock -> the job that has it, and until when it lasts, if that is for a time.
        self.uniques: dict[str, str] = {}
        self.windows: dict[str, int] = {}
        #: Ends of jobs that are to be passed on.
        self.onward: dict[str, str] = {}
        self.joins: dict[str, tuple[dict[str, str], int]] = {}

    @property
    def now(self) -> int:
        return self.clock.now

    def ids_in(self, state: JobState) -> list[str]:
        """Return the ids of the jobs in one state that waits for a time, or of the dead."""
        found = [job for job in self.jobs.values() if job.state is state]
        return [job.id for job in sorted(found, key=lambda job: (_moment(job), job.id))]

    def waiting(self) -> int:
        """Return how many jobs count for the limit of the queue."""
        waiting = {JobState.QUEUED, JobState.SCHEDULED, JobState.RETRYING}
        return sum(job.state in waiting for job in self.jobs.values())

    def holder_of(self, job_id: str) -> str | None:
        return next((holder for holder, held in self.held.items() if job_id in held), None)

    def running(self) -> int:
        return sum(len(held) for held in self.held.values())

    def announce(self, job_id: str) -> None:
        if job_id in self.watched:
            self.watched.discard(job_id)
            self.announced.append(job_id)

    def put_off(self, job: Job, state: JobState, due: int) -> None:
        """Let a job wait for a time; a pool that sleeps until a later one is woken."""
        others = [self.jobs[other].due for other in self.ids_in(state)]
        if not others or due < min(others):
            self.wake()
        job.state, job.due = state, due

    def drop_delivery(self, holder: str, job_id: str) -> Delivery:
        held = self.held[holder]
        delivery = held.pop(job_id)
        if not held:
            del self.held[holder]
        return delivery

    def add_attempt(self, job_id: str, started: int, details: str) -> None:
        history = self.histories.setdefault(job_id, History())
        history.lines.append(f"{started},{self.now:013d},{details}")
        del history.lines[:-KEPT_ATTEMPTS]

    def let_history_expire(self, job_id: str, ttl: int) -> None:
        if job_id in self.histories:
            self.histories[job_id].ttl = ttl

    def bury(self, job: Job, started: int, attempts: int, losses: int, reason: str) -> None:
        """Let a job be dead, with its body and its history, and with what follows it."""
        job.state = JobState.DEAD
        wait = started - job.published
        job.ending = Ending(self.now, self.now - started, wait, attempts, losses, reason)
        self.let_history_expire(job.id, self.limits.dead_age)
        self.let_go(job)
        self.pass_on(job, "D", reason)
        self.stats["died"] += 1

    def end_cancelled(
        self, job: Job, started: int, attempts: int, losses: int, reason: str | None = None
    ) -> None:
        """End a job that somebody cancelled or, if that is the reason, that has expired."""
        job.state = JobState.CANCELLED
        wait = started - job.published
        job.ending = Ending(self.now, self.now - started, wait, attempts, losses, reason)
        self.finished[JobState.CANCELLED].append(job.id)
        self.let_history_expire(job.id, self.limits.finished_age)
        self.let_go(job, is_undone=True)
        self.pass_on(job, "C", reason or "")
        self.stats[reason or "cancelled"] += 1

    def expire(self, job: Job) -> None:
        """End a job that has not started in time."""
        self.end_cancelled(job, self.now, 0, 0, "expired")

    def succeed(self, job: Job, ending: Ending, result: str) -> None:
        if job.faults:
            self.let_history_expire(job.id, self.limits.finished_age)
        job.state, job.ending = JobState.SUCCEEDED, ending
        self.finished[JobState.SUCCEEDED].append(job.id)
        self.let_go(job)
        self.pass_on(job, "S", result)
        self.stats["succeeded"] += 1

    def let_go(self, job: Job, *, is_undone: bool = False) -> None:
        """Let go of what only a job has that is not finished.

        A lock for a time stays after its job, unless that is ``is_undone``.
        """
        if (partition := self.free_slot(job)) and self.offer(partition):
            self.wake()
        self.unlock(job, is_undone=is_undone)
        if job.state is not JobState.DEAD:
            job.level, job.partition = "normal", None
        job.expires = job.faults = None
        self.cancelling.discard(job.id)
        self.announce(job.id)

    def unlock(self, job: Job, *, is_undone: bool = False) -> None:
        if job.lock is None:
            return
        scope, key = job.lock
        job.lock = None
        if (scope != "t" or is_undone) and self.uniques.get(key) == job.id:
            del self.uniques[key]
            self.windows.pop(key, None)

    def pass_on(self, job: Job, letter: str, details: str) -> None:
        """Note how a job ended, for any pool to do what follows.

        What begins with ``+`` follows a success only, and stays with a dead job.
        """
        follows = job.follows
        if follows is None:
            return
        is_for_success = follows.startswith("+")
        if letter != "D" or not is_for_success:
            job.follows = None
        if letter == "S" or not is_for_success:
            self.onward[job.id] = f"{letter}{follows}\n{details}"

    def let_others_on(self) -> None:
        """Wake a pool after a job ended, if a limit kept one from taking more."""
        if self.is_held_back:
            self.is_held_back = False
            self.wake()

    def end_turn(self, holder: str) -> None:
        if self.turn and self.turn[0] == holder:
            self.turn = None

    def forget(self, job: Job) -> None:
        """Forget a finished job and its attempts, but not yet an id that the caller chose."""
        del self.jobs[job.id]
        self.histories.pop(job.id, None)
        if job.is_chosen:
            self.remembered[job.id] = self.now + self.limits.id_memory

    def trim(self, order: JobState, budget: int) -> bool:
        """Forget the oldest that are too old or too many; return whether the budget was used up."""
        ids = self.finished[order]
        excess = len(ids) - self.limits.finished_count
        count = 0
        for job_id in ids[:budget]:
            age = self.now - _moment(self.jobs[job_id])
            is_too_many = count < excess and age > self.limits.finished_min_age
            if age <= self.limits.finished_age and not is_too_many:
                break
            count += 1
        for job_id in ids[:count]:
            self.forget(self.jobs[job_id])
        del ids[:count]
        return count == budget

    def look(self) -> None:
        """Notice an outage or a step of the clock: then every lease begins anew.

        Note when, how many did, and for how long nobody had looked.
        """
        last = self.now if self.last_look is None else self.last_look
        if self.now < last or self.now - last > self.limits.lease / 2:
            self.leases = dict.fromkeys(self.leases, self.now + self.limits.lease)
            if self.leases:
                self.stats["graces"] += 1
                self.grace = f"{self.now:013d},{len(self.leases)},{self.now - last}"
        self.last_look = self.now

    def calls_of(self, holder: str) -> Calls:
        return self.calls.setdefault(holder, Calls())

    def answer(self, holder: str, operation: str, request: str, text: str) -> str:
        """Remember an answer; for a while only where no lease says when to forget it."""
        calls = self.calls_of(holder)
        calls.answers[operation] = (request, text)
        if holder not in self.leases:
            calls.ttl = CALLS_TTL
        return text

    def remembered_answer(self, holder: str, operation: str, request: str) -> str | None:
        calls = self.calls.get(holder, Calls())
        last, text = calls.answers.get(operation, ("", ""))
        return text if last == request and text else None


def _moment(job: Job) -> int:
    """Return when a job is due or, if it is finished, when that was."""
    return job.ending.at if job.ending else job.due
