"""Limits in the model: what keeps jobs that could run from starting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.jobs import Job
from tests.model.queue import Queue

#: More than there ever are.
PLENTY = 1_000_000_000


class Rate(NamedTuple):
    """So many starts within so many milliseconds."""

    most: int
    span: int


@dataclass
class Rules:
    """How many jobs run at once and start within a time, of a queue and of each partition."""

    running: int | None = None
    slots: int | None = None
    is_ordered: bool = False
    rates: list[Rate] = field(default_factory=list[Rate])
    partition_rates: list[Rate] = field(default_factory=list[Rate])


def read_rules(queue: Queue, text: str) -> Rules:
    """Read the rules of a pool's code; what an operator set for the queue wins."""
    rules = Rules()
    for kind, value in re.findall("([a-z])([0-9/,]*)", queue.control.limits or text):
        match kind:
            case "c":
                rules.running = int(value)
            case "k":
                rules.slots = int(value)
            case "o":
                rules.slots, rules.is_ordered = 1, True
            case _:
                rates = rules.rates if kind == "r" else rules.partition_rates
                rates += (Rate(*map(int, rate.split("/"))) for rate in value.split(","))
    return rules


def allowance(queue: Queue, partition: str, rates: list[Rate]) -> tuple[int, int]:
    """Return how many may start now by some rates, and when the next one may."""
    free, next_at = PLENTY, queue.now
    times = sorted(queue.starts.get(partition, ({}, 0))[0].values(), reverse=True)
    for most, span in rates:
        left = most - sum(time > queue.now - span for time in times)
        free = min(free, left)
        if left <= 0:
            next_at = max(next_at, times[most - 1] + span)
    return max(0, free), next_at


def note_starts(queue: Queue, partition: str, rates: list[Rate], jobs: Iterable[Job]) -> None:
    """Note starts for as long as the longest rate asks for them."""
    span = max((rate.span for rate in rates), default=0)
    noted = {f"{job.id},{queue.now:013d}": queue.now for job in jobs}
    if span and noted:
        before, _ = queue.starts.get(partition, ({}, 0))
        kept = {start: time for start, time in before.items() if time > queue.now - span}
        queue.starts[partition] = (kept | noted, span)


def stopped_until(queue: Queue) -> tuple[int | None, bool]:
    """Return until when nothing starts at all, -1 where nobody knows, and if that is a pause."""
    ends: int | None = None
    if queue.control.pause is not None:
        _, until, _ = queue.control.pause
        if until is None:
            return -1, True
        ends = until if until > queue.now else None
    is_paused = ends is not None
    rest = queue.control.rest or 0
    if rest > queue.now:
        ends = max(ends or 0, rest)
    return ends, is_paused


class Room(NamedTuple):
    """How many jobs may start now by what holds for the whole queue.

    ``is_full``: they are as many because of those that run. ``next_at``: when more may start,
    where that is a matter of time.
    """

    jobs: int
    is_full: bool
    next_at: int | None
    is_paused: bool = False


def room_to_start(queue: Queue, rules: Rules) -> Room:
    ends, is_paused = stopped_until(queue)
    if ends is not None:
        return Room(0, False, ends, is_paused)
    free, next_at = allowance(queue, "", rules.rates)
    room = free if rules.running is None else max(0, rules.running - queue.running())
    is_full = room <= free
    if min(room, free) > 0 and room < PLENTY and queue.turn is not None:
        # The last place is kept for a job that must run alone.
        room, is_full = min(room, free) - 1, True
    return Room(min(room, free), is_full, next_at if free == 0 else None)
