"""What must be true of a queue whatever happened to it, seen in what Redis holds of it."""

from __future__ import annotations

from collections import Counter

from redispatcher_fastapi.job import JobState
from tests.model.lines import LEVELS
from tests.model.queue import Queue
from tests.model.store import Dump, Entry

_NOTHING = Entry({})


def find_broken(queue: Queue, found: Dump) -> list[str]:
    """Return a line for each thing that is not as it must be."""
    return [*_find_misplaced(queue, found), *_find_stuck(found), *_find_loose(queue, found)]


def _find_misplaced(queue: Queue, found: Dump) -> list[str]:
    """Return the jobs that are not in exactly the one place of their state."""
    places: dict[str, list[str]] = {job_id: [] for job_id in queue.jobs}
    void: Counter[str] = Counter(found.get("moved", _NOTHING).content)
    ghosts = found.get("ghosts", _NOTHING).content
    for key, entry in found.items():
        name = key.partition(":")[0]
        if name not in {"ready", "line", "suspects", "solo", "held", *JobState}:
            continue
        level = next((each for each in LEVELS if f":{each}" in key), "normal")
        for job_id in entry.content:
            is_entry = name in {"ready", "line", "suspects", "solo"}
            if is_entry and name in {"ready", "line"} and void[f"{level}:{job_id}"]:
                void[f"{level}:{job_id}"] -= 1
            elif not (is_entry and job_id in ghosts):
                places.setdefault(job_id, []).append(key)
    return [f"{job_id} is in {where}" for job_id, where in places.items() if len(where) != 1]


def _find_stuck(found: Dump) -> list[str]:
    """Return the partitions in whose lines somebody waits that nothing would ever serve."""
    served = {
        key for name in ("ring", "resting", "used") for key in found.get(name, _NOTHING).content
    }
    waiting = {key.split(":", 2)[2] for key in found if key.startswith("line:")}
    return [f"{key} is never served" for key in sorted(waiting - served)]


def _find_loose(queue: Queue, found: Dump) -> list[str]:
    """Return what belongs to a job that is finished, or unknown."""
    live = {job.id for job in queue.jobs.values() if job.ending is None}
    dead = {job.id for job in queue.jobs.values() if job.state is JobState.DEAD}
    lines: list[str] = []
    for name in ("levels", "partitions", "flows"):
        loose = set(found.get(name, _NOTHING).content) - live - dead
        lines += [f"{job_id} is still in {name}" for job_id in loose]
    for name in ("slots", "expiries", "locks", "cancelling", "faults"):
        loose = set(found.get(name, _NOTHING).content) - live
        lines += [f"{job_id} is still in {name}" for job_id in loose]
    windows = found.get("windows", _NOTHING).content
    for key, job_id in found.get("uniques", _NOTHING).content.items():
        if job_id not in live and key not in windows:
            lines.append(f"{key} is still locked for {job_id}")
    slots = Counter(text[1:] for text in found.get("slots", _NOTHING).content.values())
    used = {key: int(count) for key, count in found.get("used", _NOTHING).content.items()}
    return [*lines, *([] if used == slots else [f"slots are {slots}, but {used} are used"])]
