"""Carries schedules out: declares those of the code, makes their jobs, and manages them."""

from __future__ import annotations

from redispatcher_fastapi.scheduling.managing import Schedules
from redispatcher_fastapi.scheduling.records import ScheduleRecord
from redispatcher_fastapi.scheduling.scheduler import FiredJob, Scheduler
from redispatcher_fastapi.scheduling.timetable import Timetable, timetables_of

__all__ = ["FiredJob", "ScheduleRecord", "Scheduler", "Schedules", "Timetable", "timetables_of"]
