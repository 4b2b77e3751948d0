"""The long tiers: ``python -m tests.model [--mutants]``, on a server of its own."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from redispatcher_fastapi.broker.scripts import BlockingClient
from tests.model.killing import kill
from tests.model.machine import machine_for
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS
from tests.model.running import open_store, run_machine
from tests.servers import RedisServer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--memory", action="store_true", help="in memory, without a server")
    parser.add_argument("--mutants", action="store_true", help="kill every mutant instead")
    parser.add_argument("--only", default="", help="mutants with this in their name or script")
    options = parser.parse_args()
    mutants = [one for one in MUTANTS if options.only in f"{one.name} {one.script}"]
    if not mutants:
        parser.error(f"no mutant has {options.only!r} in its name or script")
    _say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        dsn = "memory://model" if options.memory else server.dsn
        with open_store(dsn) as client:
            if options.mutants:
                return _kill_all(client, mutants, options.examples, options.seed)
            begin = time.monotonic()
            machine = machine_for(client)
            run_machine(machine, examples=options.examples, steps=options.steps, start=options.seed)
            seconds = time.monotonic() - begin
            _say(f"{machine.begun} examples of {options.steps} steps agree, in {seconds:.0f} s")
            return 0


def _kill_all(client: BlockingClient, mutants: list[Mutant], examples: int, start: int) -> int:
    survivors: list[str] = []
    _say(f"{'mutant':42} {'script':10} {'noticed by':40} {'example':>7}")
    for mutant in mutants:
        death = kill(client, mutant, examples=examples, start=start)
        if death is None:
            survivors.append(mutant.name)
        check, example = death or ("NOBODY", examples)
        _say(f"{mutant.name:42} {mutant.script:10} {check:40} {example:>7}")
    _say(f"{len(survivors)} of {len(mutants)} mutants survive: {', '.join(survivors) or 'none'}")
    return 1 if survivors else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
