"""Which runs came too soon: beside one of the same key, out of order, or after their time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.journal import Entry, Journal
from tests.chaos.traffic import Published


class Span(NamedTuple):
    """A run from its start to its end, by the clock that all processes share."""

    begun: float
    ended: float
    job_id: str


class Turns:
    """What the journal tells of the runs of jobs that share a key.

    ``deaths`` says when a process ended that could say nothing more, ``results`` which run of a job
    was accepted.
    """

    def __init__(
        self,
        jobs: Mapping[str, Published],
        journal: Journal,
        deaths: Mapping[int, float],
        results: Mapping[str, str],
    ) -> None:
        self._jobs = jobs
        self._deaths = deaths
        self._results = results
        self._starts = journal.by_job("started")
        self._ends: dict[str, float] = {}
        for event in ("finished", "raised", "cancelled", "interrupted"):
            self._ends |= {entry.run: entry.at for entry in journal.entries(event)}

    def find_overlaps(self) -> Iterator[str]:
        """Yield the runs that began while another of the same host ran that was not given up."""
        by_host: defaultdict[str, list[Span]] = defaultdict(list)
        for job_id, published in self._jobs.items():
            if published.kind in {"limited", "unique"}:
                runs = self._starts.get(job_id, ())
                spans = [span for run in runs if (span := self._span(run, runs))]
                by_host[published.key.split()[0]] += spans
        for host, spans in by_host.items():
            for one, other in pairwise(sorted(spans)):
                if other.begun < one.ended:
                    yield f"{one} and {other} ran at once for {host}"

    def _span(self, run: Entry, runs: Sequence[Entry]) -> Span | None:
        """Return a run that was the only one of its job, or ended with its process."""
        ended = self._ends.get(run.run)
        if ended is None:
            ended = self._deaths.get(run.pid)
        elif len(runs) > 1 and self._results.get(run.job_id) != run.run:
            return None  # it may have been taken away long before its end
        return None if ended is None else Span(run.at, ended, run.job_id)

    def find_disorder(self) -> Iterator[str]:
        """Yield the jobs that began before the one published before them was done."""
        by_account: defaultdict[str, list[str]] = defaultdict(list)
        for job_id, published in self._jobs.items():
            if published.kind == "ordered":
                by_account[published.key].append(job_id)
        for account, ids in by_account.items():
            for before, after in pairwise(ids):
                done = self._ends.get(self._results.get(before, ""))
                begun = min((each.at for each in self._starts.get(after, ())), default=None)
                if done is not None and begun is not None and begun < done:
                    yield f"{after} of {account} began before {before} was done"

    def find_twins(self) -> Iterator[str]:
        """Yield the jobs that began before another of the same name, the only one, was done."""
        by_name: defaultdict[str, list[Span]] = defaultdict(list)
        for job_id, published in self._jobs.items():
            starts = self._starts.get(job_id, ())
            done = self._ends.get(self._results.get(job_id, ""))
            if published.kind == "unique" and starts and done is not None:
                by_name[published.key.split()[1]].append(Span(starts[0].at, done, job_id))
        for name, spans in by_name.items():
            for one, other in pairwise(sorted(spans)):
                if other.begun < one.ended:
                    yield f"{one} and {other} were there at once, both called {name}"
