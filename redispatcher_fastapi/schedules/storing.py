"""How a schedule lies in Redis: ``{"v":1,"schedule":{...},"body":{...}}``, the body a message."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.clock import from_milliseconds, to_milliseconds
from redispatcher_fastapi.errors import InvalidScheduleError
from redispatcher_fastapi.schedules.calendar import Cron
from redispatcher_fastapi.schedules.timing import Misfire, make_timing

if TYPE_CHECKING:
    from datetime import timedelta

    from redispatcher_fastapi.schedules.timing import Timing

_OPENING = '{"v":1,"schedule":'
_BODY = ',"body":'
_MISFIRE = re.compile(r"skip|latest|all\((\d{1,4})\)")


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule as Redis holds it; ``body`` is the JSON of its message."""

    timing: Timing
    body: bytes


def encode_schedule(timing: Timing, body: bytes) -> bytes:
    """Return what Redis holds of a schedule, before it is sealed; the same for equal ones."""
    calendar = timing.calendar
    when: dict[str, Any] = (
        {"cron": calendar.expression, "tz": calendar.tz}
        if isinstance(calendar, Cron)
        else {"every": to_milliseconds(calendar.every)}
    )
    rest = {
        "misfire": str(timing.misfire),
        "overlap": timing.overlap.value,
        "jitter": to_milliseconds(timing.jitter),
    }
    head = json.dumps({**when, **rest}, separators=(",", ":"))
    return b"%b%b%b%b}" % (_OPENING.encode(), head.encode(), _BODY.encode(), body)


def decode_schedule(stored: bytes, *, name: str) -> StoredSchedule:
    """Return the schedule that was stored.

    Raises:
        InvalidScheduleError: it was changed by hand, or by a release that knows more.
    """
    try:
        text = stored.decode()
        fields, end = json.JSONDecoder().raw_decode(text, len(_OPENING))
        is_whole = text.startswith(_OPENING) and text.startswith(_BODY, end) and text[-1] == "}"
        values = {
            "cron": fields.get("cron"),
            "tz": fields.get("tz"),
            "every": _duration(fields.get("every")),
            "misfire": _read_misfire(fields.get("misfire")),
            "overlap": fields.get("overlap"),
            "jitter": _duration(fields.get("jitter")),
        }
        body = text[end + len(_BODY) : -1].encode() if is_whole else None
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidScheduleError(_unreadable(name)) from error
    if body is None:
        raise InvalidScheduleError(_unreadable(name))
    return StoredSchedule(make_timing(f"Schedule {name!r}", values), body)


def _unreadable(name: str) -> str:
    return (
        f"What Redis holds of schedule {name!r} cannot be read: it was changed by hand, or by a "
        "newer release."
    )


def _duration(milliseconds: Any) -> timedelta | None:
    if milliseconds is None:
        return None
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        raise TypeError("no duration")
    return from_milliseconds(milliseconds) - from_milliseconds(0)


def _read_misfire(text: Any) -> Misfire:
    found = _MISFIRE.fullmatch(text)
    if found is None:
        raise ValueError("no misfire")
    if found[1] is not None:
        return Misfire.all(int(found[1]))
    return Misfire.skip() if text == "skip" else Misfire.latest()
