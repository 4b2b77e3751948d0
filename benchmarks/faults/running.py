"""One run: all libraries through all faults, whoever fails on the way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.environments import Environment, EnvironmentFailedError, Environments
from benchmarks.faults.contenders import Contender
from benchmarks.faults.faults import FAULTS
from benchmarks.faults.outcomes import Kill, Poison, Stop
from benchmarks.faults.results import Outcomes, Report
from benchmarks.faults.stage import Stage
from benchmarks.machine import describe
from benchmarks.processes import ProgramFailedError
from benchmarks.servers import Server, ServerFailedError
from benchmarks.sides import find_sides

_ERRORS = (
    EnvironmentFailedError,
    ProgramFailedError,
    ServerFailedError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be done."""

    contenders: Sequence[Contender]
    faults: Sequence[str]
    rounds: int
    at_once: int

    def go(self) -> Report:
        """Do it, which takes minutes; a library that fails is reported as such."""
        started, begun = datetime.now(UTC), time.monotonic()
        with Server() as server:
            machine = describe(server.version)
        environments = Environments()
        with ThreadPoolExecutor(self.at_once) as threads:
            found = [
                (contender, threads.submit(self._put_through, contender, environments))
                # Long leases take longest, so they come first.
                for contender in sorted(self.contenders, key=lambda each: -each.lease)
            ]
            outcomes = {contender.name: future.result() for contender, future in found}
        return Report(started, time.monotonic() - begun, self.at_once, machine, outcomes)

    def _put_through(self, contender: Contender, environments: Environments) -> Outcomes:
        side = find_sides()[contender.name]
        try:
            environment = environments.find(side)
            versions = environment.read_versions(side.versions)
        except _ERRORS as error:
            return Outcomes({}, failures=dict.fromkeys(self.faults, str(error)))
        outcomes: dict[str, Kill | Stop | Poison] = {}
        failures: dict[str, str] = {}
        for fault in self.faults:
            _say(f"{contender.name}: {fault}")
            try:
                outcomes[fault] = self._do(fault, contender, environment)
            except _ERRORS as error:
                failures[fault] = str(error)
                _say(f"{contender.name}: {fault} failed: {error}")
        return Outcomes(versions, **outcomes, failures=failures)  # type: ignore[arg-type]  # each has its own name

    def _do(
        self, fault: str, contender: Contender, environment: Environment
    ) -> Kill | Stop | Poison:
        with Stage(contender, environment) as stage:
            return FAULTS[fault](stage, self.rounds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
