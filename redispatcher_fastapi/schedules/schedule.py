"""``Schedule``: what a consumer or a configuration declares."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypedDict, cast

from redispatcher_fastapi.errors import InvalidScheduleError
from redispatcher_fastapi.schedules.timing import Misfire, Overlap, make_timing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from pydantic import BaseModel

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ScheduleOptions(TypedDict, total=False):
    """What a schedule takes besides its id and its message."""

    cron: str | None
    every: timedelta | None
    tz: str | None
    misfire: Misfire | None
    overlap: Overlap
    jitter: timedelta | None


class Schedule:
    """A message that a consumer gets again and again, by the clock.

    ``id`` is its name among the schedules of its consumer. It has either a ``cron`` expression of
    five fields, read by the wall clock of ``tz`` (an IANA name, by default UTC), or an interval
    ``every``. ``jitter`` puts each job off by a random part of it.

    Raises:
        InvalidScheduleError: it could never work; the message names the schedule.
    """

    __slots__ = ("id", "message", "timing")

    def __init__(
        self,
        id: str,  # the public attribute's name
        message: BaseModel,
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        tz: str | None = None,
        misfire: Misfire | None = None,
        overlap: Overlap = Overlap.ALLOW,
        jitter: timedelta | None = None,
    ) -> None:
        self.id = check_schedule_id(id)
        self.message = message
        self.timing = make_timing(
            f"Schedule {id!r}",
            {
                "cron": cron,
                "every": every,
                "tz": tz,
                "misfire": misfire,
                "overlap": overlap,
                "jitter": jitter,
            },
        )

    def __repr__(self) -> str:
        return f"Schedule({self.id!r}, {type(self.message).__qualname__}, {self.timing.calendar})"


def check_schedule_id(schedule_id: Any) -> str:
    """Return ``schedule_id`` if it can name a schedule; its jobs are named after it."""
    if not isinstance(schedule_id, str) or not _ID.fullmatch(schedule_id):
        raise InvalidScheduleError(
            f"{schedule_id!r:.200} cannot name a schedule: use 1 to 64 letters, digits, '.', '_' "
            "or '-', and begin with a letter or digit."
        )
    return schedule_id


def check_schedules(
    schedules: Any, *, owner: str, message_type: type[BaseModel] | None
) -> tuple[Schedule, ...]:
    """Return what was declared, if all of it can be used.

    ``message_type`` is the consumer's ``Message``, ``None`` where it is not known yet.

    Raises:
        InvalidScheduleError: naming the ``owner``.
    """
    if not isinstance(schedules, (list, tuple)):
        raise InvalidScheduleError(f"{owner} must be a list of Schedule(...).")
    found: dict[str, Schedule] = {}
    for each in cast("Sequence[Any]", schedules):
        if not isinstance(each, Schedule):
            raise InvalidScheduleError(
                f"{owner} must be a list of Schedule(...); {type(each).__qualname__} is none."
            )
        if each.id in found:
            raise InvalidScheduleError(f"{owner} has two schedules named {each.id!r}.")
        if message_type is not None and type(each.message) is not message_type:
            raise InvalidScheduleError(
                f"{owner}: the message of schedule {each.id!r} must be exactly "
                f"{message_type.__qualname__}, not {type(each.message).__qualname__}."
            )
        found[each.id] = each
    return tuple(found.values())
