"""Which jobs a claim takes in the model, one level after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model.jobs import Job
from tests.model.lines import BAND, LEVELS, line, ready
from tests.model.queue import Queue
from tests.model.rules import Rules, allowance, note_starts

TAKEN_AT_ONCE, ROUNDS, LOOKED_AT = 16, 10, 200


@dataclass
class Budget:
    """What one claim may take from all its queues together."""

    jobs: int = 500
    bytes: int = 1_048_576

    def spend(self, job: Job) -> None:
        self.bytes -= 13 + job.is_chosen + len(job.envelope)


@dataclass
class Serving:
    """What one claim takes from one queue: ``wanted`` jobs, of which some may have been lost.

    ``has_more``: it stopped looking before it had seen all that it might take.
    """

    queue: Queue
    rules: Rules
    wanted: int
    suspects: int
    budget: Budget
    jobs: list[Job] = field(default_factory=list[Job])
    has_more: bool = False

    def take_all(self) -> None:
        """Take lost jobs, then those of one level after the other; partitions in their turn."""
        self.suspects -= self._take("suspects", min(self.suspects, self._left()), "suspects")
        self._take_in_turn(0)
        for band, level in enumerate(LEVELS, start=1):
            self._take(ready(level), self._left(), level)
            self._take_in_turn(band)
        note_starts(self.queue, "", self.rules.rates, self.jobs)

    def _left(self) -> int:
        return self.wanted - len(self.jobs)

    def _take(self, name: str, wanted: int, level: str) -> int:
        """Take jobs off a list and pass over entries that count no more, of which only so many."""
        found = 0
        ids = self.queue.lane(name)
        for _ in range(int(wanted / TAKEN_AT_ONCE + ROUNDS)):
            batch = min(wanted - found, TAKEN_AT_ONCE)
            if batch <= 0 or self.budget.bytes <= 0:
                break
            for job_id in ids[:batch]:
                job = self._start(job_id, level)
                if job is not None:
                    self.budget.spend(job)
                    self.jobs.append(job)
                    found += 1
            del ids[:batch]
        return found

    def _start(self, job_id: str, level: str) -> Job | None:
        """Return the job of an entry, if that counts and the job is to start now."""
        queue = self.queue
        if f"{level}:{job_id}" in queue.moved:
            queue.moved.discard(f"{level}:{job_id}")
            return None
        if job_id in queue.ghosts:
            queue.ghosts.discard(job_id)
            return None
        job = queue.jobs[job_id]
        if job.expires is not None and job.expires <= queue.now:
            queue.expire(job)
            return None
        job.expires = None
        if job.lock and job.lock.scope == "w":
            queue.unlock(job)
        return job

    def _take_in_turn(self, band: int) -> None:
        """Take the first job of one partition after the other, of those in a band of the ring.

        In band 0 are those whose first job was lost with a process: no more than a claim may take
        of those. A job lost three times is not taken, but moved to where jobs run alone.
        """
        queue, rules, lost = self.queue, self.rules, 0
        for _ in range(2 * self._left() + LOOKED_AT):
            turns = {key: turn for key, turn in queue.ring.items() if turn // BAND == band}
            is_enough = self._left() <= 0 or (band == 0 and lost >= self.suspects)
            if not turns or is_enough or self.budget.bytes <= 0:
                break
            key = min(turns, key=lambda key: turns[key])
            free, next_at = allowance(queue, key, rules.partition_rates)
            level = next((one for one in LEVELS if queue.lane(line(one, key))), None)
            first = queue.lane(line(level, key))[0] if level else ""
            losses = queue.jobs[first].losses if first in queue.jobs else 0
            if self._is_full(key):
                # Whoever gives a slot back offers the partition again.
                del queue.ring[key]
            elif free == 0:
                del queue.ring[key]
                queue.resting[key] = next_at
            elif band > 0 and 0 < losses < 3 and lost >= self.suspects:
                queue.ring[key] = queue.next_turn()
            else:
                if level:
                    queue.lane(line(level, key)).pop(0)
                    lost += self._serve(first, level, key, is_lost=band == 0 or losses > 0)
                queue.offer(key, is_served=True, is_full=self._is_full(key))
        else:
            self.has_more = True
        self.suspects -= lost

    def _serve(self, job_id: str, level: str, key: str, *, is_lost: bool) -> bool:
        """Let a job have a slot of its partition; return whether it counts as one of the lost."""
        job = self._start(job_id, level)
        if job is None:
            return False
        job.slot = "o" if self.rules.is_ordered else "-"
        if job.losses >= 3:
            self.queue.lane("solo").append(job.id)
            return False
        note_starts(self.queue, key, self.rules.partition_rates, [job])
        self.budget.spend(job)
        self.jobs.append(job)
        return is_lost

    def _is_full(self, key: str) -> bool:
        slots = self.rules.slots
        return slots is not None and self.queue.used()[key] >= slots
