"""Sees from outside that limits are kept, whatever the model says about slots and starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import NamedTuple

from redispatcher_fastapi.job import JobState
from tests.model.queue import Queue
from tests.model.rules import Rate, Rules, read_rules
from tests.model.strategies import Held


class Start(NamedTuple):
    """A delivery that began, and the limits under which it did."""

    at: int
    job_id: str
    partition: str | None
    limits: str


class Oracle:
    """Remembers what was started when; after other limits, rates are counted from then on."""

    def __init__(self, queues: Mapping[str, Queue]) -> None:
        self._queues = queues
        self._starts: dict[str, list[Start]] = {name: [] for name in queues}
        self._known: set[Held] = set()

    def forget(self) -> None:
        """Count from now on: the clock was set back, or Redis has forgotten some starts."""
        for starts in self._starts.values():
            starts.clear()

    def judge(self, name: str, limits: str, claimed: Iterable[Held]) -> None:
        """Look at what a claim brought for one queue, and at what runs there now.

        Raises:
            AssertionError: there is more of it than the limits allow.
        """
        queue = self._queues[name]
        new = [one for one in claimed if one.queue == name and one not in self._known]
        new = [one for one in new if one.taken.delivery.started == queue.now]
        self._known.update(new)
        if not new:
            return
        text = queue.control.limits or limits
        rules = read_rules(queue, limits)
        for one in new:
            job = queue.jobs[one.taken.id]
            if rules.is_ordered and job.partition:
                self._judge_order(queue, job.id, job.partition)
            self._starts[name].append(Start(queue.now, job.id, job.partition, text))
        # One that runs alone has had its slot since it was moved to where it waited for that.
        served = {
            queue.jobs[one.taken.id].partition for one in new if not one.taken.delivery.is_alone
        }
        self._judge_counts(queue, rules, text, served - {None})

    def _judge_order(self, queue: Queue, job_id: str, partition: str) -> None:
        """See that what began in an ordered partition before, and runs or is tried again, is it."""
        under_way = {JobState.RUNNING, JobState.RETRYING}
        for start in self._starts[queue.name]:
            other = queue.jobs.get(start.job_id)
            is_before = start.partition == partition and start.job_id != job_id
            if is_before and "o" in start.limits and other and other.partition == partition:
                assert other.state not in under_way, f"{job_id} began before {other.id} was done"

    def _judge_counts(
        self, queue: Queue, rules: Rules, text: str, served: Iterable[str | None]
    ) -> None:
        running = [job for job in queue.jobs.values() if job.state is JobState.RUNNING]
        if rules.running is not None:
            assert len(running) <= rules.running, f"{len(running)} run under {text}"
        starts = list(
            takewhile(lambda start: start.limits == text, reversed(self._starts[queue.name]))
        )
        self._judge_rates(rules.rates, starts, queue.now)
        for partition in served:
            among = [job.id for job in running if job.partition == partition]
            assert rules.slots is None or len(among) <= rules.slots, f"{among} run under {text}"
            inside = [start for start in starts if start.partition == partition]
            self._judge_rates(rules.partition_rates, inside, queue.now)

    def _judge_rates(self, rates: list[Rate], starts: list[Start], now: int) -> None:
        for most, span in rates:
            # One job that is given back and started again within a millisecond counts once.
            recent = {start for start in starts if now - span < start.at <= now}
            assert len(recent) <= most, f"{len(recent)} began within {span}: {recent}"
