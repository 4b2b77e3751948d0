"""Whatever arrives from outside is answered or refused by a typed error, and harms nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.targets import TARGETS, EscapedError, Target, feed

INPUTS = 20_000
SEED = 4


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_gets_through(target: Target) -> None:
    feed(target, int(INPUTS * target.share), SEED)


@pytest.mark.parametrize("error", [ValueError, RecursionError, AssertionError])
def test_what_gets_through_is_shown_with_its_seed(error: type[Exception]) -> None:
    def make(random: Random) -> int:
        return random.randrange(100)

    def check(value: int) -> None:
        if value > 90:
            raise error

    with pytest.raises(EscapedError, match=r"numbers, seed 7, input \d+: 9\d"):
        feed(Target("numbers", make, check, 1), 1000, 7)
