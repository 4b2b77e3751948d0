"""How the machine is run: what is repeatable, how long, and what is shown of a failure."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.scripts import BlockingClient
from redispatcher_fastapi.dsn import parse_dsn
from tests.model.machine import EngineMachine

# A step is a round trip and a comparison of all there is: slow by intention.
_NO_CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@contextmanager
def open_store(dsn: str) -> Generator[BlockingClient]:
    """Open the one synchronous client that the model needs."""
    with Connections(parse_dsn(dsn)).heartbeat() as client:
        yield client


def run_machine(
    machine: type[EngineMachine], *, examples: int, steps: int, start: int, is_shrunk: bool = True
) -> None:
    """Run as many examples of so many steps; ``start`` is the seed of what they do.

    Raises:
        AssertionError: the engine did not do what the model does.
        BrokerError: a script failed.
    """
    chosen = settings(
        database=None,
        deadline=None,
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=_NO_CHECKS,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if is_shrunk else [Phase.generate],
    )
    run_state_machine_as_test(seed(start)(machine), settings=chosen)
