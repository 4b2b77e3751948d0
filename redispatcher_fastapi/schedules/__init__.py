"""What a schedule is: when it ticks, and what becomes of ticks that were missed."""

from __future__ import annotations

from redispatcher_fastapi.schedules.calendar import Calendar, Cron, Interval
from redispatcher_fastapi.schedules.planning import Plan, plan
from redispatcher_fastapi.schedules.schedule import Schedule, check_schedules
from redispatcher_fastapi.schedules.storing import (
    StoredSchedule,
    decode_schedule,
    encode_schedule,
)
from redispatcher_fastapi.schedules.timing import Misfire, Overlap, Timing

__all__ = [
    "Calendar",
    "Cron",
    "Interval",
    "Misfire",
    "Overlap",
    "Plan",
    "Schedule",
    "StoredSchedule",
    "Timing",
    "check_schedules",
    "decode_schedule",
    "encode_schedule",
    "plan",
]
