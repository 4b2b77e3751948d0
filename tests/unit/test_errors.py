"""Every error can go from one process to another, as it does through a pool of processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module

import pytest

from redispatcher_fastapi.backoff import Reject, Retry, Snooze
from redispatcher_fastapi.errors import (
    DuplicateJobError,
    JobFailedError,
    NotReplicatedError,
    PublishUncertainError,
    RedispatcherError,
    SealError,
)
from redispatcher_fastapi.message import EnvelopeError
from redispatcher_fastapi.testing.report import EndlessRunError, FailedRunsError, RunReport


class Careless(Snooze):
    """What a user may write: it takes something else, and leaves out ``super().__init__``."""

    def __init__(self, *, why: str) -> None:
        self.why = why


MADE_WITH_MORE: list[RedispatcherError] = [
    Retry(timedelta(seconds=5), reason="busy"),
    Retry(),
    Snooze(timedelta(seconds=5)),
    Careless(why="busy"),
    Reject("no such user"),
    EnvelopeError("unreadable", reason="undecodable"),
    JobFailedError("dead", reason="failed", error="ValueError: no"),
    PublishUncertainError("perhaps", job_ids=("a", "b")),
    NotReplicatedError("not yet", job_ids=("a",)),
    DuplicateJobError("there is one", job_id="a"),
    SealError("forged", reason="bad_signature"),
    FailedRunsError([], RunReport()),
    EndlessRunError(5, RunReport()),
]


for module in ("cli.running", "dispatcher", "testing"):  # between them, they import the others
    import_module(f"redispatcher_fastapi.{module}")


def find_errors(kind: type[RedispatcherError] = RedispatcherError) -> Iterator[RedispatcherError]:
    known = {type(error) for error in MADE_WITH_MORE}
    if kind not in known and kind.__module__.startswith("redispatcher_fastapi."):
        yield kind("what to do")
    for child in kind.__subclasses__():
        yield from find_errors(child)


def describe(error: RedispatcherError) -> object:
    state = {name: getattr(value, "runs", value) for name, value in vars(error).items()}
    return type(error), str(error), error.args, state


@pytest.mark.parametrize("error", [*MADE_WITH_MORE, *find_errors()], ids=lambda e: type(e).__name__)
def test_an_error_can_be_pickled_and_copied(error: RedispatcherError) -> None:
    error.add_note("seen in another process")

    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert describe(same) == describe(error)
