"""Seeds of mixed runs that broke a promise once, and what was wrong."""

from __future__ import annotations

BROKE_ONCE: tuple[int, ...] = (
    # Two runs at once for one host, of one job: the first one ended, for all the judge knew, when
    # its process was killed, 19 s after its start. Runs that are cancelled as their process has
    # lost its lease have left a note since; whether this was one is not known.
    66357435,
)
