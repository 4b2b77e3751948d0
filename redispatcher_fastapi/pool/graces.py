"""Tells which notes of leases that began anew are news to a pool."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redispatcher_fastapi.broker.types import Grace, GraceNote


class GraceNotes:
    """Remembers which notes a pool has seen: each is told of once by every pool that was there."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, bytes]] = set()
        self._is_first = True

    def pick_new(self, notes: Iterable[GraceNote], *, since_start: timedelta) -> list[Grace]:
        """Return the graces not seen before; of those found first, only the ones since the start.

        Whoever comes after a time without any pool lets the leases begin anew by its own first
        calls, and there is nobody else to tell of it.
        """
        news: list[Grace] = []
        for note in notes:
            key = note.grace.queue, note.mark
            is_older = self._is_first and not timedelta() <= note.age <= since_start
            if key not in self._seen and not is_older:
                news.append(note.grace)
            self._seen.add(key)
        self._is_first = False
        return news
