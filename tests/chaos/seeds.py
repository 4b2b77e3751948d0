"""Seeds of mixed runs that broke a promise once, and what was wrong."""

from __future__ import annotations

BROKE_ONCE: tuple[int, ...] = ()
