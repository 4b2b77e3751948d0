"""The oracle and the pool processes of the reliability tests, and which tests are left out."""

from __future__ import annotations

import os

import pytest

from tests.reliability.conftest import oracle, pools

__all__ = ["oracle", "pools"]

#: ``make sentinel`` and ``make cluster`` set this; what shows the same at length is left out else.
IS_LONG = os.environ.get("REDISPATCHER_LONG") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not IS_LONG and item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
