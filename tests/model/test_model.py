"""The engine does what its model does, whatever the order, on a real server and in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redispatcher_fastapi.broker.scripts import BlockingClient
from tests.model.machine import machine_for
from tests.model.running import open_store, run_machine

#: In memory, every step costs more.
EXAMPLES = {"memory": 6, "redis": 30}


@pytest.fixture
def client(redis_dsn: str) -> Iterator[BlockingClient]:
    with open_store(redis_dsn) as client:
        yield client


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_engine_does_what_its_model_does(client: BlockingClient, redis_dsn: str) -> None:
    examples = EXAMPLES[redis_dsn.partition(":")[0]]

    run_machine(machine_for(client), examples=examples, steps=40, start=4)
