"""What a mutant is."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One change: ``by`` stands where ``line``, or that part of it, stood once in ``script``.

    A change to a library, such as ``prelude``, concerns every script that has the function.
    """

    name: str
    script: str
    line: str
    by: str = ""
