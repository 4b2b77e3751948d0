"""What is fuzzed: a name, what makes an input, and what must hold for it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from redispatcher_fastapi.broker.scripts import BlockingClient
from tests.fuzz import calls, envelopes, names, stored


class Target(NamedTuple):
    """``check`` raises for an input that got through; ``share`` of all inputs are for it."""

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    share: float


TARGETS = (
    Target("envelopes", envelopes.make, envelopes.check, 0.4),
    Target("large envelopes", envelopes.make_large, envelopes.check_large, 0.004),
    Target("memory of envelopes", envelopes.make_large, envelopes.check_memory, 0.004),
    Target("names", names.make_name, names.check_name, 0.2),
    Target("addresses", names.make_dsn, names.check_dsn, 0.2),
    Target("stored records", stored.make, stored.check, 0.15),
)


def script_arguments(client: BlockingClient) -> Target:
    """Return the target that needs a store, which it empties."""
    return Target("script arguments", calls.make, calls.Caller(client).check, 0.05)


class EscapedError(AssertionError):
    """Raised for an input that was neither answered nor refused as it should be."""


def feed(target: Target, inputs: int, seed: int) -> None:
    """Feed so many inputs, always the same ones for a seed.

    Raises:
        EscapedError: with the seed and the input, for the first that got through.
    """
    random = Random(f"{seed} {target.name}")
    for number in range(inputs):
        value = target.make(random)
        try:
            target.check(value)
        except Exception as error:
            raise EscapedError(
                f"{target.name}, seed {seed}, input {number}: {value!r:.2000}: {error!r:.500}"
            ) from error
