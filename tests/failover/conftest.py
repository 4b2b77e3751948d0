"""The oracle and the pool processes of the reliability tests."""

from __future__ import annotations

from tests.reliability.conftest import oracle, pools

__all__ = ["oracle", "pools"]
