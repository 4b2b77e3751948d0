"""Ties the library to an application: publishers for its endpoints, a pool if it wants one."""

from __future__ import annotations

from redispatcher_fastapi.dispatcher.redispatcher import Redispatcher
from redispatcher_fastapi.dispatcher.standalone import (
    NoDispatcherError,
    app_lifespan,
    standalone,
)

__all__ = ["NoDispatcherError", "Redispatcher", "app_lifespan", "standalone"]
