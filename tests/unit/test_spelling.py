"""Names that were meant to be others: refused where they would have no effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    BatchConsumer,
    ConfigurationError,
    ConsumerDefinitionError,
    Middleware,
    PoolHooks,
)
from redispatcher_fastapi.spelling import find_meant


def print_nothing(self: Any) -> None: ...


def make(base: type, **attributes: Any) -> type:
    return type("Mine", (base,), attributes)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("LIMIT", "LIMITS"),
        ("RETRIES", "RETRY"),
        ("EXPIRE", "EXPIRES"),
        ("SCHEDULE", "SCHEDULES"),
        ("TIMEOUTS", "TIMEOUT"),
        ("PRIORTY", "PRIORITY"),
        ("RESULTS_TTL", "RESULT_TTL"),
        ("QUEUES", "QUEUE"),
    ],
)
def test_an_option_of_a_consumer(wrong: str, meant: str) -> None:
    with pytest.raises(
        ConsumerDefinitionError, match=rf"Mine\.{wrong} has no effect: most likely {meant} is"
    ):
        make(BaseConsumer, **{wrong: timedelta(seconds=1)})


@pytest.mark.parametrize("wrong", ["timeout", "retry", "limits", "queue", "result_ttl"])
def test_an_option_in_lower_case(wrong: str) -> None:
    meant = wrong.upper()
    with pytest.raises(ConsumerDefinitionError, match=rf"Mine\.{wrong} .*: most likely {meant} is"):
        make(BaseConsumer, **{wrong: timedelta(seconds=1)})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("MAX_RETRIES", r"RETRY = RetryPolicy\(max_attempts=\.\.\.\)"),
        ("TIME_LIMIT", "TIMEOUT"),
        ("RATE_LIMIT", r"LIMITS = \[RateLimit\(\.\.\.\)\]"),
    ],
)
def test_an_option_as_another_library_calls_it(wrong: str, meant: str) -> None:
    with pytest.raises(ConsumerDefinitionError, match=rf"Mine\.{wrong} .*: most likely {meant} is"):
        make(BaseConsumer, **{wrong: 5})


def test_an_option_of_a_batch_consumer() -> None:
    with pytest.raises(
        ConsumerDefinitionError, match=r"Mine\.BATCHES has no effect: most likely BATCH is"
    ):
        make(BatchConsumer, BATCHES=5)


def test_what_is_the_consumers_own() -> None:
    make(BaseConsumer, TIMEOUT_S=5, QUEUE_NAME="a", MAX_SIZE=3, _LIMIT=3, URL="", Timeout=1)
    make(BaseConsumer, timeout=property(len), retry=print_nothing, _queue="a")


@pytest.mark.parametrize(
    ("base", "wrong", "meant"),
    [
        (Middleware, "around_runs", "around_run"),
        (Middleware, "around_publishs", "around_publish"),
        (PoolHooks, "job_start", "job_started"),
        (PoolHooks, "queues_paused", "queue_paused"),
    ],
)
def test_a_method(base: type, wrong: str, meant: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"Mine\.{wrong} is never called: most likely {meant} is"
    ):
        make(base, **{wrong: print})


def test_methods_of_the_subclass_itself() -> None:
    make(Middleware, around=print, _around_runs=print, around_runs=5)
    make(PoolHooks, send=print, jobs_started=5, count_jobs=print)


def test_no_known_name_is_taken_for_another() -> None:
    for base in (BaseConsumer, Middleware, PoolHooks):
        known = [name for name in vars(base) if not name.startswith("_")]
        for name in known:
            assert find_meant(name, known) is None
            others = [each for each in known if each != name]
            assert find_meant(name, others) is None, name
