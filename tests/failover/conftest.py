"""An oracle and pool processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.oracle import VARIABLE, Oracle
from tests.reliability.processes import Pools

#: ``make failover`` sets this; without it, what shows the same at greater length is left out.
IS_LONG = os.environ.get("REDISPATCHER_LONG") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not IS_LONG and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """What really happened."""
    path = tmp_path / "oracle"
    monkeypatch.setenv(VARIABLE, str(path))
    return Oracle(path)


@pytest.fixture
def pools(tmp_path: Path, oracle: Oracle) -> Iterator[Pools]:
    with Pools(tmp_path, oracle) as pools:
        yield pools
