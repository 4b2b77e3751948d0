"""What the harness knows about a side without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Delivery = Literal["at least once", "at most once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One library in one configuration. Two configurations of a library are two sides."""

    name: str
    program: str
    """The module in ``benchmarks.programs``."""
    requirements: tuple[str, ...]
    """What pip installs into the side's environment: plain names, so the newest releases."""
    versions: tuple[str, ...]
    """The distributions whose versions are shown, the library itself first."""
    delivery: Delivery
    worker: tuple[str, ...]
    """The command of a worker; its first word is looked up in the environment.

    ``{processes}``, ``{slots}`` and ``{queues}`` (comma-separated) are filled in. Without
    ``{processes}`` the command is started once per process.
    """
    notes: str
    """How it is configured, for the table."""
    pace: int
    """Roughly how many no-op jobs a second it runs here: sizes the runs."""
    publish_pace: int
    """Roughly how many jobs a second 100 callers publish."""
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why it takes no part: by kind of job, or publish, bulk, delayed, queues, processes."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables for its processes, to tell configurations apart."""
    endpoint: str | None = None
    """The module in ``benchmarks.programs`` with its FastAPI ``app``, if it has one."""
    baseline: bool = False
    """Not a peer: this library, or the limit."""
