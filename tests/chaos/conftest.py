"""The suite needs minutes and a machine for itself: it runs when it is asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the suite out unless an argument names it."""
    return None if any("chaos" in argument for argument in config.args) else True
