"""Where jobs wait that can run, and whose turn it is: levels, partitions, their lines and slots."""

from __future__ import annotations

from collections import Counter

from redispatcher_fastapi.job import JobState
from tests.model.jobs import Faults, Job

LEVELS = ("high", "normal", "low")
#: The ring orders partitions by level first: this is more than there are turns.
BAND = 1_000_000_000_000


def ready(level: str) -> str:
    """Return the list of a level, for jobs that have no partition."""
    return "ready" if level == "normal" else f"ready:{level}"


def line(level: str, partition: str) -> str:
    """Return the list of a level within a partition."""
    return f"line:{level}:{partition}"


class Lines:
    """The lists of a queue; which of its partitions are to be served, and in which order."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.lanes: dict[str, list[str]] = {}
        #: Ids whose place in a list is still there, though the job no longer waits in it.
        self.ghosts: set[str] = set()
        #: ``<level>:<id>``: the first entry of that job in the list of that level counts no more.
        self.moved: set[str] = set()
        #: When partitions are served next: the lowest first. Those that are full or rest are out.
        self.ring: dict[str, int] = {}
        #: Until when nothing of a partition starts; with a half, because a job asked for it.
        self.resting: dict[str, float] = {}
        self.has_token = False
        self.stats: Counter[str] = Counter()

    def wake(self) -> None:
        self.has_token = True

    def lane(self, name: str) -> list[str]:
        return self.lanes.setdefault(name, [])

    def waiting_in(self, partition: str) -> int:
        """Return how many entries the lines of a partition have, also of jobs that are gone."""
        return sum(len(self.lane(line(level, partition))) for level in LEVELS)

    def used(self) -> Counter[str]:
        """Return how many slots are occupied in each partition that has any."""
        holders = (job for job in self.jobs.values() if job.slot)
        return Counter(job.partition for job in holders if job.partition)

    def offer(self, partition: str, *, is_served: bool = False, is_full: bool = False) -> bool:
        """Give a partition its place in the ring, or none; tell whether it has one.

        A new place is behind all others of the level of its first job. One whose first job was
        lost has been put before all levels, and keeps that place until it is served.
        """
        place = self._level_of_first(partition)
        if place is None or is_full or partition in self.resting:
            self.ring.pop(partition, None)
            return False
        band = self.ring.get(partition, -BAND) // BAND
        if is_served or band not in {0, place}:
            self.ring[partition] = place * BAND + self.next_turn()
        return True

    def next_turn(self) -> int:
        self.stats["turns"] += 1
        return self.stats["turns"]

    def _level_of_first(self, partition: str) -> int | None:
        """Return the level of the first entry of a partition: 1 is the highest."""
        for place, level in enumerate(LEVELS, start=1):
            if self.lane(line(level, partition)):
                return place
        return None

    def queue_up(self, job: Job, *, is_first: bool = False) -> None:
        """Let a job wait for its turn, behind those of its level and partition or before them."""
        job.state = JobState.QUEUED
        name = line(job.level, job.partition) if job.partition else ready(job.level)
        self.lane(name).insert(0 if is_first else len(self.lane(name)), job.id)
        if job.partition:
            self.offer(job.partition)

    def queue_again(self, job: Job) -> None:
        """Let a job that ran be the first in line; a lost one waits with those lost as often."""
        if job.losses and not job.partition:
            job.state = JobState.QUEUED
            self.lane(job.lane).insert(0, job.id)
        else:
            self.queue_up(job, is_first=True)

    def free_slot(self, job: Job) -> str | None:
        """Give back the slot that a job has, if any; return its partition."""
        if job.slot is None:
            return None
        job.slot = None
        return job.partition

    def leave_slot(self, job: Job) -> None:
        """Let a job run no more that is not finished: in an ordered partition it keeps its slot."""
        if job.slot == "-" and (partition := self.free_slot(job)) and self.offer(partition):
            self.wake()

    def take_out(self, job: Job) -> None:
        """Let a job wait no more; its entry in a list stays there."""
        if job.state is JobState.QUEUED:
            self.ghosts.add(job.id)

    def void_entry(self, job: Job) -> None:
        """Make the entry of a job count no more, as another one will."""
        entry = f"{job.level}:{job.id}"
        if entry in self.moved:
            name = line(job.level, job.partition) if job.partition else ready(job.level)
            self.lane(name).remove(job.id)
        self.moved.add(entry)

    def forget_places(self, job_id: str) -> None:
        """Remove what an earlier job of this id left behind in lists."""
        is_ghost = job_id in self.ghosts
        self.ghosts.discard(job_id)
        levels = [each for each in LEVELS if is_ghost or f"{each}:{job_id}" in self.moved]
        self.moved -= {f"{level}:{job_id}" for level in levels}
        for level in levels:
            self._remove_entries(job_id, ready(level))
        for partition in self.by_waiting()[::-1]:
            places = [line(level, partition) for level in levels]
            if sum(self._remove_entries(job_id, place) for place in places):
                self.offer(partition)
        if is_ghost:
            self._remove_entries(job_id, "suspects")
            self._remove_entries(job_id, "solo")

    def _remove_entries(self, job_id: str, name: str) -> bool:
        before = self.lane(name)
        self.lanes[name] = [one for one in before if one != job_id]
        return len(self.lanes[name]) < len(before)

    def by_waiting(self) -> list[str]:
        """Return the partitions that have entries, those with the most first."""
        names = {name.split(":", 2)[2] for name in self.lanes if name.startswith("line:")}
        lengths = {name: length for name in names if (length := self.waiting_in(name))}
        return sorted(lengths, key=lambda name: (lengths[name], name), reverse=True)

    def charge(self, job: Job, *, errors: int = 0, losses: int = 0, solo_losses: int = 0) -> Faults:
        """Count what went wrong with a job; return the sums."""
        had = job.faults or Faults()
        job.faults = Faults(had.errors + errors, had.losses + losses, had.solo_losses + solo_losses)
        return job.faults
