"""The engine does what its model does, whatever the order, on a real server and in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.running import open_store, run_machine
from tests.model.store import Client

#: In memory, every step costs more.
EXAMPLES = {"memory": 90, "redis": 240}


@pytest.fixture
def client(redis_dsn: str) -> Iterator[Client]:
    with open_store(redis_dsn) as client:
        yield client


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_engine_does_what_its_model_does(client: Client, redis_dsn: str) -> None:
    examples = EXAMPLES[redis_dsn.partition(":")[0]]

    run_machine(client, examples=examples, steps=40, start=4)
