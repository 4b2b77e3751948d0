"""What is read back of a stored job, however it was written."""

from __future__ import annotations

import pytest

from redispatcher_fastapi.broker.records import parse_record
from redispatcher_fastapi.job import JobState


def live(envelope: bytes) -> list[object]:
    return [b"queued", b"1767268800000" + envelope, b"", b"", b"", []]


@pytest.mark.parametrize(
    ("envelope", "body", "headers"),
    [
        (b'{"v":1,"body":{"a":1.50}}', b'{"a":1.50}', {}),
        (b'{"v":1,"headers":{"t":"\xc3\xa9"},"body":{"a":1.50}}', b'{"a":1.50}', {"t": "é"}),
        (b'{"v": 1, "body": {"a": 2}}', b'{"a": 2}', {}),
        (b'{"body":{"a":2},"headers":{"t":"x"},"v":1}', b'{"a": 2}', {"t": "x"}),
        (b'{"v":1,"headers":{"t":"x"},"more":1,"body":{"a":2}}', b'{"a": 2}', {"t": "x"}),
        (b"not json", b"not json", None),
        (b"[1,2]", b"[1,2]", None),
        (b'{"v":1,"headers":[],"body":{}}', b'{"v":1,"headers":[],"body":{}}', None),
        (b"[" * 100_000, b"[" * 100_000, None),
    ],
)
def test_a_body_is_shown_as_it_was_published_or_else_all_there_is(
    envelope: bytes, body: bytes, headers: object
) -> None:
    record = parse_record("letters", "a", live(envelope))

    assert (record.body, record.headers) == (body, headers)


def test_a_record_that_was_changed_by_hand_is_shown_whole() -> None:
    record = parse_record("letters", "a", [b"queued", b"{scribble", b"", b"", b"", []])

    assert (record.state, record.body, record.published_at) == (JobState.QUEUED, b"{scribble", None)
