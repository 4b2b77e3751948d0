"""Notices names that were meant to be others, and that Python takes without a word."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

#: One letter too few, too many or swapped in a name of six letters; ``TIMEOUT_S`` is another one.
_ALIKE = 0.9


def find_meant(name: str, known: Collection[str]) -> str | None:
    """Return the known name that a class most likely means by a name that is nearly the same.

    ``None``: it is one of them, one of the class's own, or begins with an underscore.
    """
    if name in known or name.startswith("_"):
        return None
    return next((each for each in known if _is_alike(name, each)), None)


def check_overrides(subclass: type, base: type) -> None:
    """Refuse a method that nobody calls, as it is not the one of the base that it was meant for.

    Raises:
        ConfigurationError: there is one.
    """
    known = [name for name in vars(base) if not name.startswith("_")]
    for name, value in vars(subclass).items():
        meant = find_meant(name, known) if callable(value) else None
        if meant is not None:
            raise ConfigurationError(
                f"{subclass.__qualname__}.{name} is never called: most likely {meant} is meant. "
                "If it is something of your own, let its name begin with an underscore."
            )


def _is_alike(name: str, other: str) -> bool:
    if _singulars(name) & _singulars(other):
        return True
    return SequenceMatcher(None, name, other).ratio() >= _ALIKE


def _singulars(name: str) -> set[str]:
    """Return the name, and what it is the plural of."""
    endings = (("IES", "Y"), ("ES", ""), ("S", ""))
    found = {name.removesuffix(end) + single for end, single in endings if name.endswith(end)}
    return found | {name}
