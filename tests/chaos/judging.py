"""What must be true after every run, whatever was done to it: the invariants of the suite.

Each is named after the promise it keeps; a control that takes a protection away must break one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from tests.chaos.faults import Harm
from tests.chaos.fleet import Fleet, Member
from tests.chaos.journal import Entry, Journal
from tests.chaos.profiles import Profile
from tests.chaos.report import Report
from tests.chaos.traffic import Traffic
from tests.chaos.turns import Turns
from tests.chaos.workload import POISON, QUEUES
from tests.leaks import find_leaks
from tests.servers import CommandClient

_MOST_STARTS = 5
#: What a publish may take beyond its deadline on a machine that is busy with faults.
_MARGIN = 2.0
_PUBLISH_TIMEOUT = 5.0
#: What was claimed before a link went silent starts within so many seconds.
_IN_FLIGHT = 0.5
#: Sentinels of logs: an error that nobody expected.
_UNEXPECTED = (
    "Traceback",
    "never retrieved",
    "A hook of the pool failed",
    "went wrong in the pool",
)

_FINISHED = re.compile(
    r"(?P<letter>[SCDscd])\d+,-?\d+,-?\d+(?:,\d+,\d+)?"
    r"(?:,(?P<reason>[a-z_]{2,})(?:\n.*)?)?(?:,r)?",
    re.DOTALL,
)


@dataclass(slots=True)
class Final:
    """What Redis knows in the end."""

    #: id -> ``succeeded``, ``dead``, ``cancelled`` or ``live``
    states: dict[str, str]
    #: id -> why it is dead
    reasons: dict[str, str]
    #: id -> which run's result was accepted
    results: dict[str, str]
    stats: Counter[str]
    leaks: list[str]


def read_final(client: CommandClient) -> Final:
    """Read everything about the jobs of all queues."""
    final = Final({}, {}, {}, Counter(), find_leaks(client))
    letters = {"s": "succeeded", "c": "cancelled", "d": "dead"}
    for queue in QUEUES:
        prefix = f"rd:{{{queue}}}:"
        records: Mapping[str, str] = client.execute_command("HGETALL", f"{prefix}jobs")
        for job_id, record in records.items():
            found = _FINISHED.fullmatch(record)
            final.states[job_id] = letters[found["letter"].lower()] if found else "live"
            if found and found["reason"]:
                final.reasons[job_id] = found["reason"]
        ids = list(records)
        for start in range(0, len(ids), 1000):
            some = ids[start : start + 1000]
            values = client.execute_command("MGET", *(f"{prefix}result:{each}" for each in some))
            for job_id, value in zip(some, values, strict=True):
                if value is not None:
                    final.results[job_id] = str(json.loads(value))
        stats: Mapping[str, str] = client.execute_command("HGETALL", f"{prefix}stats")
        final.stats.update({name: int(value) for name, value in stats.items()})
    return final


class Judge:
    """Compares what Redis says with what happened, and puts what is wrong into a report."""

    def __init__(
        self,
        profile: Profile,
        lease: timedelta,
        *,
        report: Report,
        traffic: Traffic,
        journal: Journal,
        fleet: Fleet,
        harms: Sequence[Harm],
    ) -> None:
        self._profile = profile
        self._lease = lease.total_seconds()
        self._report = report
        self._traffic = traffic
        self._journal = journal
        self._fleet = fleet
        self._harms = harms
        # What Redis was told before somebody emptied it may be lost, and nothing else.
        last = max((each.at for each in harms), default=0.0)
        self._kept_from = last + _MARGIN if profile.forgets else 0.0

    def judge(self, final: Final) -> None:
        """Check everything that is true of all runs, then what this profile promises."""
        self._judge_publishing(final)
        self._judge_ends(final)
        self._judge_starts(final)
        self._judge_results(final)
        self._judge_killers()
        self._judge_restarts()
        self._judge_silences()
        self._judge_processes()
        self._judge_turns(final)
        for leak in final.leaks:
            self._break("leaves-nothing", leak)
        if "keeps-leases" in self._profile.promises and final.stats["lost"]:
            self._break(
                "keeps-leases", f"{final.stats['lost']} jobs were taken from live processes"
            )
        if "no-repeats" in self._profile.promises and self._report.repeated_effects:
            self._break("no-repeats", f"{self._report.repeated_effects} jobs finished twice")
        if "finishes-in-grace" in self._profile.promises:
            self._judge_terminations()

    def _judge_publishing(self, final: Final) -> None:
        traffic, report = self._traffic, self._report
        report.published = len(traffic.jobs)
        report.uncertain = len(traffic.uncertain)
        report.refused_as_full = traffic.refused_as_full
        report.longest_publish = traffic.longest
        for error in traffic.errors:
            self._break("publishers-get-typed-errors", error)
        if traffic.longest > _PUBLISH_TIMEOUT + _MARGIN:
            self._break("publishers-keep-deadlines", f"one took {traffic.longest:.1f} s")
        if self._profile.forgets:
            return
        ids = traffic.jobs.keys() | traffic.uncertain
        unknown = final.states.keys() - ids
        if unknown and not traffic.refused_as_full:
            # A bulk publish that is refused half-way leaves jobs that nobody was told of.
            self._break("publishes-once", f"{len(unknown)} jobs that nobody published")
        if final.stats["published"] != len(final.states):
            self._break(
                "publishes-once",
                f"{final.stats['published']} publishes made {len(final.states)} jobs",
            )

    def _judge_ends(self, final: Final) -> None:
        finished, started = self._journal.by_job("finished"), self._journal.by_job("started")
        for job_id, published in self._traffic.jobs.items():
            state = final.states.get(job_id)
            if state is None:
                if published.at >= self._kept_from:
                    self._break("loses-nothing", f"{job_id} ({published.kind}) is unknown")
                continue
            if state == "live":
                self._break("ends-everything", f"{job_id} ({published.kind}) never ended")
                continue
            if state == "succeeded" and job_id not in finished:
                self._break("tells-the-truth", f"{job_id} succeeded without having finished")
            expected = "dead" if published.kind in POISON else "succeeded"
            if published.kind == "cancelled":
                expected = "cancelled"
            elif published.kind == "expiring" and state == "cancelled":
                expected = state
                if final.reasons.get(job_id) != "expired" or job_id in started:
                    self._break("expires-unstarted", f"{job_id} ended as {final.reasons}")
            if state != expected:
                reason = final.reasons.get(job_id, "")
                promise = "spares-innocents" if state == "dead" else "buries-poison"
                self._break(promise, f"{job_id} ({published.kind}) is {state} {reason}")

    def _judge_starts(self, final: Final) -> None:
        stats, report = final.stats, self._report
        starts = Counter(entry.job_id for entry in self._journal.entries("started"))
        finishes = Counter(entry.job_id for entry in self._journal.entries("finished"))
        report.starts = starts.total()
        report.extra_starts = sum(count - 1 for count in starts.values())
        report.repeated_effects = sum(count > 1 for count in finishes.values())
        report.taken_back, report.retried = stats["lost"], stats["retried"]
        report.released, report.graces = stats["released"], stats["graces"]
        report.zombie_results_refused = stats["stale"]
        if self._profile.forgets:
            return
        by_loss = sum(reason == "worker_lost" for reason in final.reasons.values())
        ends = (
            stats["succeeded"]
            + (stats["died"] - by_loss)
            + sum(stats[each] for each in ("retried", "snoozed", "released", "lost", "cancelled"))
        )
        if report.starts > ends:
            self._break(
                "accounts-for-starts", f"{report.starts} starts, but only {ends} deliveries ended"
            )
        terminal = sum(state != "live" for state in final.states.values())
        ended = ("succeeded", "died", "cancelled", "expired")
        if sum(stats[each] for each in ended) != terminal:
            self._break(
                "ends-once",
                f"{[stats[each] for each in ended]} ends of {terminal} ended jobs",
            )

    def _judge_results(self, final: Final) -> None:
        started = self._journal.by_job("started")
        finished = self._journal.by_job("finished")
        reported = self._reported_refusals()
        killed = {member.pid for member in self._fleet.members if member.ended_for == "kill"}
        crashed = {entry.pid for entry in self._journal.entries("crashing")}
        for job_id, result in final.results.items():
            accepted = next((each for each in started.get(job_id, ()) if each.run == result), None)
            if accepted is None:
                self._break("tells-the-truth", f"{job_id} has the result of no run: {result}")
                continue
            for other in started[job_id]:
                if _is_later(other, accepted) and not self._profile.steps_clock:
                    self._break(
                        "refuses-zombies", f"{job_id}: {accepted} was accepted, {other} came later"
                    )
            for other in finished.get(job_id, ()):
                is_silent = (job_id, other.pid) not in reported
                if other.run != result and is_silent and other.pid not in killed | crashed:
                    member = next(each for each in self._fleet.members if each.pid == other.pid)
                    self._break(
                        "reports-zombies",
                        f"{job_id}: nobody was told of {other}; its process ({member.ended_for}) "
                        f"said:\n{_tail(member)}",
                    )

    def _judge_killers(self) -> None:
        starts = self._journal.by_job("started")
        for job_id, published in self._traffic.jobs.items():
            if published.kind != "crash":
                continue
            count = len(starts.get(job_id, ()))
            self._report.most_starts_of_a_killer = max(self._report.most_starts_of_a_killer, count)
            if count > _MOST_STARTS:
                self._break("stops-killers", f"{job_id} was started {count} times")

    def _judge_turns(self, final: Final) -> None:
        """See that jobs with a key kept to their turns; one that was given up may run on."""
        if self._profile.forgets:
            return
        turns = Turns(self._traffic.jobs, self._journal, self._deaths(), final.results)
        for text in turns.find_overlaps():
            self._break("keeps-limits", text)
        for text in turns.find_disorder():
            self._break("keeps-order", text)
        for text in turns.find_twins():
            self._break("once-at-a-time", text)

    def _deaths(self) -> dict[int, float]:
        """Return when processes ended that could say nothing more."""
        killed = (each for each in self._fleet.members if each.ended_for == "kill")
        deaths = {member.pid: member.ended_at for member in killed}
        return deaths | {entry.pid: entry.at for entry in self._journal.entries("crashing")}

    def _judge_restarts(self) -> None:
        """Measure how long what a killed process ran waited for its next start."""
        if self._profile.forgets:
            return
        deaths = self._deaths()
        ended = self._ended_runs()
        for runs in self._journal.by_job("started").values():
            for run, following in pairwise(runs):
                death = deaths.get(run.pid)
                if death is not None and run.run not in ended:
                    self._report.gaps_after_kill.append(round(following.at - death, 3))

    def _judge_terminations(self) -> None:
        """All jobs are shorter than the grace period, so that none may be interrupted."""
        terminated = {each.pid for each in self._fleet.members if each.ended_for == "term"}
        ended = self._ended_runs()
        for entry in self._journal.entries("started"):
            if entry.pid in terminated and entry.run not in ended:
                self._break("finishes-in-grace", f"{entry} was interrupted")

    def _ended_runs(self) -> set[str]:
        """Return the runs whose handler came to its end, well or not."""
        events = ("finished", "raised", "cancelled")
        return {entry.run for event in events for entry in self._journal.entries(event)}

    def _judge_silences(self) -> None:
        """Measure how long nothing started after all links had gone half open."""
        if self._profile.faults != ("half-open",):
            return
        starts = sorted(entry.at for entry in self._journal.entries("started"))
        for harm in self._harms:
            following = [at for at in starts if at > harm.at + _IN_FLIGHT]
            if following:
                self._report.silences.append(round(following[0] - harm.at, 3))

    def _judge_processes(self) -> None:
        crashed = {entry.pid for entry in self._journal.entries("crashing")}
        self._report.processes = len(self._fleet.members)
        for member in self._fleet.members:
            code = member.process.returncode
            expected = {-9} if member.pid in crashed or member.ended_for == "kill" else {0}
            if not self._journal.is_ready(member.pid):
                expected.add(-15)  # told to stop before it could listen
            if code not in expected:
                self._break(
                    "pools-go-on",
                    f"a process ended with {code}:\n{_tail(member)}",
                )
            log = member.log.read_text(encoding="utf-8", errors="replace")
            for text in _UNEXPECTED:
                if text in log and not _is_of_a_job(log, text):
                    self._break("pools-go-on", f"a process logged {text!r}:\n{_tail(member)}")
                    break

    def _reported_refusals(self) -> set[tuple[str, int]]:
        """Return of which jobs it was said that their results do not count, and by whom."""
        found: set[tuple[str, int]] = set()
        for member in self._fleet.members:
            for record in _records(member):
                if record.get("event") == "job.refused":
                    found.add((str(record["job_id"]), member.pid))
                elif record.get("event") in {"pool.unconfirmed", "pool.given_up"}:
                    job_ids: Any = record["job_ids"]
                    found.update((str(job_id), member.pid) for job_id in job_ids)
        return found

    def _break(self, promise: str, text: str) -> None:
        self._report.break_promise(promise, text)


def _is_later(other: Entry, accepted: Entry) -> bool:
    """Tell whether a run was claimed, and began, after the one whose result was accepted."""
    return other.at > accepted.at and _claimed_at(other.run) > _claimed_at(accepted.run)


def _claimed_at(run: str) -> int:
    return int(run.rpartition(",")[2].rstrip("*"))


def _records(member: Member) -> list[dict[str, object]]:
    lines = member.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _is_of_a_job(log: str, text: str) -> bool:
    """Tell whether all lines with a text are about jobs that are to fail."""
    return all('"event": "job.' in line for line in log.splitlines() if text in line)


def _tail(member: Member) -> str:
    return "\n".join(member.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])[
        -3000:
    ]
