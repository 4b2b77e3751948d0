"""Controls: the model notices when something is taken away from the engine."""

from __future__ import annotations

import pytest

from tests.model.killing import kill
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS, find
from tests.model.mutating import MutantNotFoundError, mutated
from tests.model.running import open_store
from tests.servers import RedisServer


@pytest.mark.redis
@pytest.mark.parametrize(
    "name",
    [
        "no fence",
        "release not deduplicated",
        "a retry is lost",
        "given back to the wrong end",
        "no grace after an outage",
        "trim ignores the least age",
    ],
)
def test_the_model_notices_a_mutant(redis_server: RedisServer, name: str) -> None:
    with open_store(redis_server.dsn) as client:
        assert kill(client, find(name), examples=60, start=1)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_changes_a_script_that_there_is(mutant: Mutant) -> None:
    with mutated(mutant):
        pass


def test_a_mutant_of_a_line_that_is_gone_is_refused() -> None:
    with (
        pytest.raises(MutantNotFoundError, match="ack has no single 'no such line'"),
        mutated(Mutant("none", "ack", "no such line")),
    ):
        pass
