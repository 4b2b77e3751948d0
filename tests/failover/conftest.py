"""An oracle and pool processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.oracle import VARIABLE, Oracle
from tests.reliability.processes import Pools


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
