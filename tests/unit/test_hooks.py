"""Each event of a pool is a hook and a log record, as docs/reference.md lists them."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    ConsumerPool,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi import hooks as package
from redispatcher_fastapi.broker.types import (
    AttemptError,
    Cancelled,
    Delivery,
    Died,
    Grace,
    Limited,
    Outcome,
    Released,
    Retried,
    Snoozed,
    Succeeded,
    TakenBack,
)
from redispatcher_fastapi.cli import announcing
from redispatcher_fastapi.errors import QueueFullError
from redispatcher_fastapi.hooks import (
    GuardedHooks,
    LoggingHooks,
    LoopBlock,
    Outage,
    PoolHooks,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
_, _, TABLE = PAGE.partition("\n| event | level | when | fields | hook |\n|---|---|---|---|---|\n")
CLI = Path(announcing.__file__).parent
ROWS = [line.strip("| ").split(" | ") for line in TABLE.partition("\n\n")[0].splitlines()]

SECOND = timedelta(seconds=1)
DELIVERY = Delivery("letters", "a", "holder", 1, "1,1", b"", 0, losses=3)
ERROR = AttemptError("ValueError: no")
OUTAGE = Outage(("letters", "parcels"), "Redis did not answer a claim: no", 2 * SECOND)
REFUSAL = QueueFullError("Queue 'letters' is full.")
BLOCK = LoopBlock(2 * SECOND, "  File ...", name="Send", queue="letters", job_id="a")

EVENTS: dict[str, Callable[[PoolHooks], None]] = {
    "job.started": lambda hooks: hooks.job_started(DELIVERY, "Send"),
    "job.succeeded": lambda hooks: hooks.job_ended(DELIVERY, "Send", Succeeded(), 0.1),
    "job.retried": lambda hooks: hooks.job_ended(DELIVERY, "Send", Retried(SECOND, ERROR), 0.1),
    "job.limited": lambda hooks: hooks.job_ended(DELIVERY, "Send", Limited(SECOND), 0.1),
    "job.snoozed": lambda hooks: hooks.job_ended(DELIVERY, "Send", Snoozed(SECOND), 0.1),
    "job.dead": lambda hooks: hooks.job_ended(DELIVERY, "Send", Died("failed", ERROR), 0.1),
    "job.released": lambda hooks: hooks.job_ended(DELIVERY, "Send", Released(), 0.1),
    "job.cancelled": lambda hooks: hooks.job_ended(DELIVERY, "Send", Cancelled(), 0.1),
    "job.called_off": lambda hooks: hooks.job_called_off(DELIVERY, "Send", Released()),
    "job.cancel_ignored": lambda hooks: hooks.cancellation_ignored(DELIVERY, "Send", 5.0),
    "job.parked": lambda hooks: hooks.job_parked("letters", "a", "failed"),
    "job.refused": lambda hooks: hooks.write_refused(DELIVERY, "Send", Succeeded(), is_gone=False),
    "job.taken_back": lambda hooks: hooks.job_taken_back(TakenBack("letters", "a", 1, False)),
    "job.isolated": lambda hooks: hooks.job_isolated(TakenBack("letters", "a", 3, False, True)),
    "job.solo_started": lambda hooks: hooks.solo_run_started(DELIVERY, "Send"),
    "pool.given_up": lambda hooks: hooks.lease_lost("letters", ["a"]),
    "pool.unconfirmed": lambda hooks: hooks.outcomes_unconfirmed("letters", ["a"]),
    "pool.grace": lambda hooks: hooks.leases_restarted(Grace("letters", 2, 90 * SECOND)),
    "pool.draining": lambda hooks: hooks.pool_draining(2),
    "pool.cannot_claim": lambda hooks: hooks.claiming_failed(OUTAGE),
    "pool.can_claim": lambda hooks: hooks.claiming_resumed(OUTAGE),
    "pool.paused": lambda hooks: hooks.queue_paused("letters"),
    "pool.resumed": lambda hooks: hooks.queue_resumed("letters"),
    "pool.loop_blocked": lambda hooks: hooks.loop_blocked(BLOCK),
    "pool.loop_freed": lambda hooks: hooks.loop_freed(BLOCK),
    "publish.after_commit_failed": lambda hooks: hooks.after_commit_failed("l", ["a"], REFUSAL),
    "flow.stuck": lambda hooks: hooks.flow_stuck("queue", "job", "full"),
    "outbox.relayed": lambda hooks: hooks.outbox_relayed(2),
    "outbox.refused": lambda hooks: hooks.outbox_refused("letters", "a", "no such option"),
    "outbox.cannot_relay": lambda hooks: hooks.outbox_failed("the queue is full", 2 * SECOND),
    "outbox.can_relay": lambda hooks: hooks.outbox_resumed(2 * SECOND),
}
METHODS = [name for name, _ in inspect.getmembers(PoolHooks, inspect.isfunction)]

EMPTY = vars(logging.makeLogRecord({}))


def record_of(event: str, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    with caplog.at_level(logging.DEBUG, "redispatcher"):
        EVENTS[event](LoggingHooks())
    (record,) = caplog.records
    return record


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in EMPTY}


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_events_are_those_that_are_listed() -> None:
    assert [row[0].strip("`") for row in ROWS] == list(EVENTS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip("`") for row in ROWS])
def test_a_log_record_has_the_level_and_the_fields_that_are_listed(
    row: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    event, level, _, fields, _ = row

    record = record_of(event.strip("`"), caplog)

    assert record.levelname.lower() == level
    assert set(fields_of(record)) - {"event", "message", "asctime"} == names_in(fields)
    assert vars(record)["event"] == event.strip("`")


def test_a_process_that_is_given_up_without_jobs_says_so(caplog: pytest.LogCaptureFixture) -> None:
    LoggingHooks().lease_lost("letters", [])
    LoggingHooks().lease_lost("letters", ["a", "b"])

    none, some = [record.getMessage() for record in caplog.records]
    assert none.endswith("it ran none of its jobs, and goes on under a new lease.")
    assert some.endswith("cancelling 2 job(s) that others run now: a, b")


def test_the_events_of_the_log_alone_are_listed_with_their_fields() -> None:
    _, _, table = PAGE.partition("\n| log only | level | when | fields |\n|---|---|---|---|\n")
    rows = [line.strip("|").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(CLI.glob("*.py")))
    call = r'logger\.(\w+)\((?:(?!logger\.).)*?extra=\{\s*"event": "([^"]+)"(.*?)\}'
    logged = {
        (level, event): set(re.findall(r'"(\w+)":', fields))
        for level, event, fields in re.findall(call, source, re.DOTALL)
    }

    assert len(logged) == source.count('"event":')
    assert {(row[1], row[0].strip(" `")): names_in(row[3]) for row in rows} == logged


def test_every_hook_is_listed() -> None:
    assert set().union(*(names_in(row[4]) for row in ROWS)) == set(METHODS)


def test_whatever_a_hook_is_given_is_importable_beside_it() -> None:
    annotations = [
        str(annotation)
        for name in METHODS
        for annotation in inspect.get_annotations(getattr(PoolHooks, name)).values()
    ]
    named = set(re.findall(r"\b[A-Z]\w+", " ".join(annotations))) - {"None", "Exception"}
    members = {member.__name__ for member in get_args(Outcome)}

    assert {"Delivery", "TakenBack"} <= named
    assert named | members | {"AttemptError"} <= set(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_every_hook_is_passed_on_and_guarded(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    def record_and_raise(name: str) -> Callable[..., None]:
        def hook(*_: object, **__: object) -> None:
            called.append(name)
            raise RuntimeError("a mistake of the user's")

        return hook

    hooks = PoolHooks()
    for name in METHODS:
        setattr(hooks, name, record_and_raise(name))
    for tell in EVENTS.values():
        tell(GuardedHooks(hooks))

    assert set(called) == set(METHODS)
    assert caplog.text.count("A hook of the pool failed.") == len(EVENTS)


def test_a_death_by_loss_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    LoggingHooks().job_taken_back(TakenBack("letters", "a", 5, is_dead=True))

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "is dead (worker_lost)" in record.getMessage()


@pytest.mark.parametrize(("is_gone", "reason"), [(False, "stale"), (True, "gone")])
def test_a_refused_write_says_what_was_refused_and_why(
    caplog: pytest.LogCaptureFixture, is_gone: bool, reason: str
) -> None:
    LoggingHooks().write_refused(DELIVERY, "Send", Released(), is_gone=is_gone)

    (record,) = caplog.records
    assert "What became of Send a (released) was refused" in record.getMessage()
    assert fields_of(record)["reason"] == reason


def test_a_clock_that_was_set_back_is_told_from_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LoggingHooks().leases_restarted(Grace("letters", 2, -90 * SECOND))

    (record,) = caplog.records
    assert "the clock of Redis was set back by 90.0 s" in record.getMessage()
    assert (fields_of(record)["reason"], fields_of(record)["gap_seconds"]) == (
        "clock_set_back",
        -90.0,
    )


def test_a_block_that_is_no_handlers_says_so(caplog: pytest.LogCaptureFixture) -> None:
    LoggingHooks().loop_blocked(LoopBlock(SECOND, "  here", task="task poll (poll)"))

    assert "not by a handler's own task, but by task poll (poll)" in caplog.text


class Awaited(PoolHooks):
    async def job_parked(self, queue: str, job_id: str, reason: str) -> None:  # type: ignore[override]  # the mistake
        ...


class Duck:
    def job_started(self, delivery: Delivery, name: str) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (LoggingHooks, r"The hooks LoggingHooks are a class: give an instance, LoggingHooks\("),
        (Duck(), "Duck is no PoolHooks: derive it from PoolHooks"),
        (Awaited(), r"Awaited\.job_parked must be a plain `def`"),
    ],
)
@pytest.mark.parametrize("make", [Redispatcher, ConsumerPool])
def test_what_are_no_hooks_is_refused_at_once(make: Any, wrong: Any, words: str) -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Running])

    with pytest.raises(ConfigurationError, match=words):
        make(config, hooks=wrong)


class Running(BaseConsumer):
    QUEUE = "running"

    class Message(BaseConsumer.Message): ...

    async def process_message(self, message: Message) -> None: ...
