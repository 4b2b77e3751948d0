"""What is read back of a stored job, however it was written."""

from __future__ import annotations

import pytest

from redispatcher_fastapi.broker.records import parse_record
from redispatcher_fastapi.job import JobState, Priority

#: Of a job that asks for nothing: level, partition, expiry, whether it is to be cancelled, and is
#: followed.
PLAIN = (b"normal", b"", b"", b"", b"")

Reply = list[bytes | list[bytes]]


def live(envelope: bytes) -> Reply:
    return [b"queued", b"1767268800000" + envelope, b"", b"", b"", [], *PLAIN]


@pytest.mark.parametrize(
    ("envelope", "body", "headers"),
    [
        (b'{"v":1,"body":{"a":1.50}}', b'{"a":1.50}', {}),
        (b'{"v":1,"headers":{"t":"\xc3\xa9"},"body":{"a":1.50}}', b'{"a":1.50}', {"t": "é"}),
        (b'{"v": 1, "body": {"a": 2}}', b'{"a": 2}', {}),
        (b'{"body":{"a":2},"headers":{"t":"x"},"v":1}', b'{"a": 2}', {"t": "x"}),
        (b'{"v":1,"headers":{"t":"x"},"more":1,"body":{"a":2}}', b'{"a": 2}', {"t": "x"}),
        (b'{"v":1,"headers": {"t":"x"},"body":{"a":2}}', b'{"a": 2}', {"t": "x"}),
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
    record = parse_record("letters", "a", [b"queued", b"{scribble", b"", b"", b"", [], *PLAIN])

    assert (record.state, record.body, record.published_at) == (JobState.QUEUED, b"{scribble", None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"scribble",
        b"1,2",
        b"1,2,{",
        b"1,2,[]",
        b"x,2,{}",
        b"1,2,\xff",
        b"9" * 5000 + b",2,{}",
        b"1,2," + b"[" * 100_000,
    ],
)
def test_a_line_of_history_that_was_changed_by_hand_hides_no_other(line: bytes) -> None:
    good = b'1767268800000,1767268805120,{"outcome":"failed","error":"E: no"}'
    reply = [b"queued", b"1767268800000{}", b"1,0,0", b"", b"", [line, good, line], *PLAIN]

    record = parse_record("letters", "a", reply)

    assert [attempt.error for attempt in record.history] == ["E: no"]


def test_an_error_in_the_history_that_is_no_text_is_left_out() -> None:
    line = b'1767268800000,1767268805120,{"outcome":["x"],"error":{"a":1},"traceback":7}'
    reply = [b"queued", b"1767268800000{}", b"1,0,0", b"", b"", [line], *PLAIN]

    (attempt,) = parse_record("letters", "a", reply).history

    assert (attempt.outcome, attempt.error, attempt.traceback) == ("failed", None, None)


@pytest.mark.parametrize(
    "record",
    [
        b"S" + b"1767268805120," + b"9" * 5000 + b",35",
        b"S1767268805120,85",
    ],
)
def test_a_finished_record_with_impossible_numbers_is_shown_whole(record: bytes) -> None:
    shown = parse_record("letters", "a", [b"succeeded", record, b"", b"", b"", [], *PLAIN])

    assert (shown.state, shown.body) == (JobState.SUCCEEDED, record)


def test_a_reason_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    record = b"D1767268805120,85,35,1,0,fail\xff\n1767268800000{}"

    shown = parse_record("letters", "a", [b"dead", record, b"", b"", b"", [], *PLAIN])

    assert shown.reason == "fail\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("delivery", [b"scribble", b"1", b"1,x", b"1," + b"9" * 5000, b"1,\xff"])
def test_a_delivery_that_was_changed_by_hand_has_no_start(delivery: bytes) -> None:
    shown = parse_record(
        "letters", "a", [b"running", b"1767268800000{}", b"", b"", delivery, [], *PLAIN]
    )

    assert (shown.state, shown.started_at) == (JobState.RUNNING, None)


def test_a_level_that_was_changed_by_hand_is_shown_as_normal() -> None:
    reply: Reply = [
        b"queued",
        b"1767268800000{}",
        b"",
        b"",
        b"",
        [],
        b"urgent\xff",
        b"a\xff",
        b"x",
        b"",
        b"",
    ]

    shown = parse_record("letters", "a", reply)

    assert (shown.priority, shown.partition) == (Priority.NORMAL, "a\N{REPLACEMENT CHARACTER}")
    assert shown.expires_at is None
