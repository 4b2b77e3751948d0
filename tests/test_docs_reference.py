"""docs/reference.md names what there is, with the defaults it has."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

import redispatcher_fastapi
from redispatcher_fastapi import ConsumerConfig, RedispatcherConfig, RedispatcherError, RetryPolicy

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
DOCUMENTS = "\n".join(
    path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
)

UNITS = {"s": timedelta(seconds=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def read_table(head: str) -> dict[str, str]:
    """Return the first two columns of the table with this head; a row may have several names."""
    _, _, table = REFERENCE.partition(f"\n| {head} | default | meaning |\n")
    rows: dict[str, str] = {}
    for line in table.partition("\n\n")[0].splitlines()[1:]:
        names, default, _ = line.strip("| ").split(" | ", 2)
        found = re.findall(r"`(\w+)`", names)
        defaults = default.split(", ") if len(found) > 1 else [default]
        rows.update(zip(found, defaults, strict=True))
    return rows


def read_default(text: str) -> int | timedelta:
    """Return the value that ``30 s`` or ``1,000,000`` stands for."""
    number, _, unit = text.replace(",", "").partition(" ")
    return int(number) * UNITS[unit] if unit else int(number)


CONFIGURATION = read_table("`RedispatcherConfig(...)`")
UNLIKE_THE_OTHERS = {"redis_dsn", "concurrency", "consumers", "sealing", "outbox"}


def test_the_configuration_has_these_fields_and_no_others() -> None:
    assert set(CONFIGURATION) == set(RedispatcherConfig.model_fields)


@pytest.mark.parametrize("name", sorted(set(CONFIGURATION) - UNLIKE_THE_OTHERS))
def test_a_setting_has_the_default_that_is_written(name: str) -> None:
    default: object = RedispatcherConfig.model_fields[name].default

    assert read_default(CONFIGURATION[name]) == default


def test_a_consumer_runs_as_many_jobs_at_once_as_is_written() -> None:
    found = re.search(r"`ConsumerConfig\(consumer_class=X, count=(\d+)\)`", REFERENCE)
    assert found

    assert ConsumerConfig.model_fields["count"].default == int(found[1])


def test_a_retry_policy_tries_as_often_as_is_written() -> None:
    assert RetryPolicy().max_attempts == int(read_table("`RetryPolicy(...)`")["max_attempts"])


@pytest.mark.parametrize("name", sorted(redispatcher_fastapi.__all__))
def test_whatever_is_exported_is_documented(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCUMENTS)


def test_every_error_that_is_named_exists() -> None:
    rows: list[str] = re.findall(r"^\| ((?:`\w+Error`(?:, )?)+) \|", REFERENCE, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"TimeoutError"}

    assert names
    for name in names:
        assert issubclass(getattr(redispatcher_fastapi, name), RedispatcherError), name
