"""Who is measured: each module here has ``SIDES``, and adding a side is adding a module."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from benchmarks.sides.side import Side

__all__ = ["Side", "find_sides"]


def find_sides() -> dict[str, Side]:
    """All sides by name: the baselines first."""
    sides: list[Side] = []
    for module in pkgutil.iter_modules(__path__):
        sides.extend(getattr(import_module(f"{__name__}.{module.name}"), "SIDES", ()))
    return {side.name: side for side in sorted(sides, key=lambda side: not side.baseline)}
