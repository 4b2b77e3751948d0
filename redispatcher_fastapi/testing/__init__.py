"""What a test suite needs to test background work without Redis; see ``docs/testing.md``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redispatcher_fastapi.testing.clock import FakeClock
    from redispatcher_fastapi.testing.expectation import InvalidExpectationError
    from redispatcher_fastapi.testing.published import PublishedJob
    from redispatcher_fastapi.testing.report import (
        EndlessRunError,
        FailedRunsError,
        JobRun,
        RunReport,
    )
    from redispatcher_fastapi.testing.tester import RedispatcherTester

__all__ = [
    "EndlessRunError",
    "FailedRunsError",
    "FakeClock",
    "InvalidExpectationError",
    "JobRun",
    "PublishedJob",
    "RedispatcherTester",
    "RunReport",
]

# Imported when asked for: pytest imports this package for its plugin in every run, also in those
# that have nothing to do with this library.
_MODULES = {
    "EndlessRunError": "report",
    "FailedRunsError": "report",
    "FakeClock": "clock",
    "InvalidExpectationError": "expectation",
    "JobRun": "report",
    "PublishedJob": "published",
    "RedispatcherTester": "tester",
    "RunReport": "report",
}


if not TYPE_CHECKING:  # or a misspelt import would pass the type checkers

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
