"""What each kind of job does, the same for every side. Standard library only.

| kind    | body      | work                                                                  |
|---------|-----------|-----------------------------------------------------------------------|
| noop    | 70 bytes  | nothing but `record_start(index)`                                     |
| large   | 2 KB      | the same                                                              |
| depends | 70 bytes  | the same, with `Mailer` and `Settings` from the side's own injection |
| result  | 70 bytes  | the same, and returns `result_of(index)`, which is kept               |
| sleep   | 70 bytes  | `await run_sleep(index)`, or `run_sleep_blocking(index)`              |
| thread  | 70 bytes  | `run_thread(index)`, in a sync function                               |

Every message is validated as a pydantic model (or as whatever the side has instead) with the fields
of `fields_of`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.recorder import record_start

KINDS = ("noop", "large", "depends", "result", "sleep", "thread")
SLEEP = 0.1
THREAD = 0.01
_TEXT = "The quick brown fox jumps over the lazy dog. " * 44


def fields_of(kind: str, index: int) -> dict[str, int | str | bool]:
    """The message: ``index: int, email: str, name: str, registered: bool``; large has text."""
    fields: dict[str, int | str | bool] = {
        "index": index,
        "email": "ann@example.com",
        "name": "Ann",
        "registered": True,
    }
    if kind == "large":
        fields["text"] = _TEXT
    return fields


def result_of(index: int) -> str:
    """What a job of kind result returns."""
    return f"welcome {index}"


async def run_sleep(index: int) -> None:
    """Wait as for a slow server. This kind is recorded at its end."""
    await asyncio.sleep(SLEEP)
    record_start(index)


def run_sleep_blocking(index: int) -> None:
    """The same, for a side whose jobs are sync functions in threads."""
    time.sleep(SLEEP)
    record_start(index)


def run_thread(index: int) -> None:
    """Block a thread for a moment. This kind is recorded at its end."""
    time.sleep(THREAD)
    record_start(index)


@dataclass(frozen=True, slots=True)
class Settings:
    """The first dependency of kind depends."""

    sender: str = "bench@example.com"


@dataclass(frozen=True, slots=True)
class Mailer:
    """The second one, which needs the first."""

    settings: Settings


async def get_settings() -> Settings:
    return Settings()


def make_mailer(settings: Settings) -> Mailer:
    """Each side writes ``get_mailer`` around it, in the words of its injection."""
    return Mailer(settings)
