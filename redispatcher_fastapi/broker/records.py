"""Reads what the scripts store about a job; ``lua/prelude.lua`` describes the format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.scripts import as_bytes, as_text
from redispatcher_fastapi.clock import from_milliseconds
from redispatcher_fastapi.job import Attempt, JobRecord, JobState, Priority
from redispatcher_fastapi.sealing import without_signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_PUBLISHED_DIGITS = 13
_ENVELOPE = b'{"v":1,"body":'
_ENVELOPE_WITH_HEADERS = b'{"v":1,"headers":'
_BODY = ',"body":'
_LEVELS = {priority.encode(): priority for priority in Priority}
_FAULTS = re.compile(rb"(\d{1,9}),(\d{1,9}),\d{1,9}")
# More digits are no time, and Python refuses to read thousands of them.
_FINISHED = re.compile(
    rb"([SCDscd])(\d{13}),(-?\d{1,18}),(-?\d{1,18})(?:,(\d{1,9}),(\d{1,9}))?"
    rb"(?:,([^\n]*))?(?:\n(.*))?",
    re.DOTALL,
)
_STARTED = re.compile(rb"\d{1,18},(\d{1,18})\*?")
_TIME = re.compile(r"-?\d{1,18}")
_ATTEMPT = re.compile(rb"(-?\d{1,18}),(-?\d{1,18}),(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Finished:
    published_ms: int
    started_ms: int
    finished_ms: int
    attempts: int
    losses: int
    reason: str | None
    live: bytes | None
    is_cancelled: bool


def split_live_record(record: bytes) -> tuple[int | None, bool, bytes]:
    """Return the milliseconds of publishing, whether the id was chosen, and the envelope.

    The first is ``None``, and the last everything, where a record was changed by hand.
    """
    digits = record[:_PUBLISHED_DIGITS]
    if len(digits) < _PUBLISHED_DIGITS or not digits.isdigit():
        return None, False, record
    if record[_PUBLISHED_DIGITS : _PUBLISHED_DIGITS + 1] == b"!":
        return int(digits), True, record[_PUBLISHED_DIGITS + 1 :]
    return int(digits), False, record[_PUBLISHED_DIGITS:]


def parse_faults(text: bytes | str) -> tuple[int, int]:
    """Return how many attempts failed and how many were lost with their process.

    What was changed by hand counts as none, as it does for the scripts.
    """
    found = _FAULTS.fullmatch(as_bytes(text))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def parse_record(queue: str, job_id: str, reply: Sequence[Any]) -> JobRecord:
    """Return the record from the reply of ``record.lua``."""
    state = JobState(as_text(reply[0]))
    record, due, delivery = as_bytes(reply[1]), as_text(reply[3]), as_bytes(reply[4])
    errors, losses = parse_faults(reply[2])
    attempts = (parse_attempt(as_bytes(entry)) for entry in reply[5])
    history = tuple(attempt for attempt in attempts if attempt is not None)
    last_error = next((attempt.error for attempt in reversed(history) if attempt.error), None)
    priority = _LEVELS.get(as_bytes(reply[6]), Priority.NORMAL)
    partition = as_bytes(reply[7]).decode(errors="replace") or None
    finished = _parse_finished(record) if state.is_finished else None
    if finished is not None:
        body, headers = (
            _split_envelope(split_live_record(finished.live)[2]) if finished.live else (None, None)
        )
        return JobRecord(
            id=job_id,
            queue=queue,
            state=state,
            attempts=finished.attempts,
            losses=finished.losses,
            error=last_error,
            reason=finished.reason,
            body=body,
            headers=headers,
            published_at=from_milliseconds(finished.published_ms),
            due_at=None,
            started_at=_last_start(finished, history),
            finished_at=from_milliseconds(finished.finished_ms),
            history=history,
            priority=priority,
            partition=partition,
            is_followed=bool(reply[10]),
        )
    published_ms, _, envelope = split_live_record(record)
    body, headers = _split_envelope(envelope)
    started, expiry = _STARTED.fullmatch(delivery), as_text(reply[8])
    return JobRecord(
        id=job_id,
        queue=queue,
        state=state,
        attempts=errors + (1 if delivery else 0),
        losses=losses,
        error=last_error,
        reason=None,
        body=body,
        headers=headers,
        published_at=None if published_ms is None else from_milliseconds(published_ms),
        due_at=from_milliseconds(int(due)) if _TIME.fullmatch(due) else None,
        started_at=from_milliseconds(int(started[1])) if started else None,
        finished_at=None,
        history=history,
        priority=priority,
        partition=partition,
        expires_at=from_milliseconds(int(expiry)) if _TIME.fullmatch(expiry) else None,
        is_cancelling=bool(reply[9]),
        is_followed=bool(reply[10]),
    )


def parse_attempt(entry: bytes) -> Attempt | None:
    """Return one line of a job's history; ``None`` if it was changed by hand."""
    found = _ATTEMPT.fullmatch(entry)
    if found is None:
        return None
    try:
        fields: Any = json.loads(found[3].decode())
    except (ValueError, RecursionError):
        return None
    if not _is_object(fields):
        return None
    return Attempt(
        outcome=_text_or_none(fields.get("outcome")) or "failed",
        started_at=from_milliseconds(int(found[1])),
        finished_at=from_milliseconds(int(found[2])),
        error=_text_or_none(fields.get("error")),
        traceback=_text_or_none(fields.get("traceback")),
    )


def _parse_finished(record: bytes) -> _Finished | None:
    match = _FINISHED.fullmatch(record)
    if match is None:
        return None
    letter, finished, run, wait, attempts, losses, reason, live = match.groups()
    finished_ms = int(finished)
    started_ms = finished_ms - int(run)
    return _Finished(
        published_ms=started_ms - int(wait),
        started_ms=started_ms,
        finished_ms=finished_ms,
        attempts=int(attempts) if attempts else 1,
        losses=int(losses or 0),
        reason=_read_reason(letter, reason),
        live=live,
        is_cancelled=letter in b"Cc",
    )


def _last_start(finished: _Finished, history: Sequence[Attempt]) -> datetime | None:
    """Return when a finished job was started last; ``None`` if it never was.

    The record of one that was cancelled while it waited has the time of that.
    """
    if finished.attempts == finished.losses == 0:
        return None
    if finished.is_cancelled and finished.started_ms == finished.finished_ms and history:
        return history[-1].started_at
    return from_milliseconds(finished.started_ms)


def _read_reason(letter: bytes, reason: bytes | None) -> str | None:
    """Return why a job is dead or cancelled; what a success has in its place is no reason."""
    return reason.decode(errors="replace") if reason and letter not in b"Ss" else None


def _split_envelope(envelope: bytes) -> tuple[bytes, Mapping[str, Any] | None]:
    """Return the body as it was published, and the headers.

    All there is, if it is no envelope, or an encrypted one.
    """
    try:
        # As text: of bytes, json would guess the encoding, and consumers take nothing but UTF-8.
        fields: Any = json.loads(envelope.decode())
    except (ValueError, RecursionError):
        return envelope, None
    if not _is_object(fields) or "body" not in fields or not _is_object(fields.get("headers", {})):
        return envelope, None
    return _raw_body(without_signature(envelope)) or json.dumps(
        fields["body"]
    ).encode(), fields.get("headers", {})


def _raw_body(envelope: bytes) -> bytes | None:
    """Return the body byte by byte, if the envelope is written as this library writes it."""
    if envelope.startswith(_ENVELOPE):
        return envelope[len(_ENVELOPE) : -1]
    if not envelope.startswith(_ENVELOPE_WITH_HEADERS):
        return None
    text = envelope.decode()
    try:
        _, end = json.JSONDecoder().raw_decode(text, len(_ENVELOPE_WITH_HEADERS))
    except ValueError:  # a space, which this library does not write
        return None
    body = text[end:].removeprefix(_BODY)
    return body[:-1].encode() if len(body) < len(text) - end else None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
