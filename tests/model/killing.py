"""Runs the model against mutants of the engine: which check notices each, and how soon."""

from __future__ import annotations

import re
from typing import NamedTuple

from redispatcher_fastapi.broker.scripts import BlockingClient
from redispatcher_fastapi.errors import BrokerError
from tests.model.machine import machine_for
from tests.model.mutant import Mutant
from tests.model.mutating import mutated
from tests.model.running import run_machine


class Death(NamedTuple):
    """What noticed a mutant, and the number of the example that showed it."""

    check: str
    example: int


def kill(client: BlockingClient, mutant: Mutant, *, examples: int, start: int) -> Death | None:
    """Return how a mutant died; ``None`` if it survived all examples."""
    machine = machine_for(client)
    with mutated(mutant):
        try:
            run_machine(machine, examples=examples, steps=40, start=start, is_shrunk=False)
        except AssertionError as error:
            return Death(_name(str(error)), machine.begun)
        except BrokerError as error:
            return Death(f"error: {error}"[:60], machine.begun)
    return None


def _name(text: str) -> str:
    """Return which comparison failed, from what it says."""
    first = text.partition("\n")[0]
    if found := re.match(r"after ([\w ]+): ([a-z]+)[^ ]* ?(is in)?", first):
        return f"places after {found[1]}" if found[3] else f"{found[2]} after {found[1]}"
    if found := re.match(r"(\w+) (refused|repeated|answers)", first):
        return f"{found[2]}: {found[1]}"
    return first[:60]
