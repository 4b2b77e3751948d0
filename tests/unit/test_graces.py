"""Which graces a pool tells of: each once, but none of before its time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from redispatcher_fastapi.broker.types import Grace, GraceNote
from redispatcher_fastapi.pool.graces import GraceNotes

SECOND = timedelta(seconds=1)


def note(mark: bytes, *, age: float = 1, queue: str = "letters") -> GraceNote:
    return GraceNote(Grace(queue, 2, 90 * SECOND), mark, age * SECOND)


def test_a_note_is_news_once() -> None:
    notes = GraceNotes()
    first = note(b"1")

    told = [notes.pick_new([first], since_start=10 * SECOND) for _ in range(2)]

    assert told == [[first.grace], []]


def test_a_note_of_another_queue_is_another_one() -> None:
    notes = GraceNotes()
    both = [note(b"1"), note(b"1", queue="parcels")]

    told = notes.pick_new(both, since_start=10 * SECOND)

    assert [grace.queue for grace in told] == ["letters", "parcels"]


@pytest.mark.parametrize(("age", "is_told"), [(0, True), (5, True), (6, False), (-1, False)])
def test_of_the_notes_found_first_only_those_since_the_start_are_news(
    age: float, *, is_told: bool
) -> None:
    told = GraceNotes().pick_new([note(b"1", age=age)], since_start=5 * SECOND)

    assert bool(told) is is_told


def test_what_was_found_first_and_is_older_than_the_pool_is_never_told() -> None:
    notes = GraceNotes()

    notes.pick_new([note(b"1", age=6)], since_start=5 * SECOND)

    assert notes.pick_new([note(b"1", age=11)], since_start=60 * SECOND) == []


def test_a_later_note_is_news_however_old_it_looks() -> None:
    notes = GraceNotes()

    notes.pick_new([], since_start=SECOND)

    # A process that was suspended does not count that time.
    assert notes.pick_new([note(b"1", age=600)], since_start=2 * SECOND)


def test_a_note_that_comes_back_with_a_former_master_is_not_told_again() -> None:
    notes = GraceNotes()
    for mark in (b"1", b"2"):
        notes.pick_new([note(mark)], since_start=10 * SECOND)

    assert notes.pick_new([note(b"1")], since_start=10 * SECOND) == []
