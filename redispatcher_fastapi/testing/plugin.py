"""The pytest plugin: fixtures that put an application's background work under test.

It is loaded in every run of pytest, so it imports nothing else before a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from redispatcher_fastapi.dispatcher import Redispatcher
    from redispatcher_fastapi.testing.clock import FakeClock
    from redispatcher_fastapi.testing.tester import RedispatcherTester


@pytest.fixture
def redispatcher_dispatcher() -> Redispatcher:
    """The dispatcher under test: define a fixture of this name that returns yours."""
    pytest.fail(
        "redispatcher_tester needs your dispatcher: define the fixture redispatcher_dispatcher in "
        "your conftest.py and return it there.",
        pytrace=False,
    )


@pytest.fixture
def redispatcher_app() -> FastAPI | None:
    """The application under test: define a fixture of this name that returns yours.

    It is needed only where its lifespan is not run, or where consumers depend on it.
    """
    return None


@pytest.fixture
def redispatcher_clock() -> FakeClock | None:
    """The clock of the test: define a fixture of this name to start it at another time than now."""
    return None


@pytest.fixture
def redispatcher_tester(
    redispatcher_dispatcher: Redispatcher,
    redispatcher_app: FastAPI | None,
    redispatcher_clock: FakeClock | None,
) -> Iterator[RedispatcherTester]:
    """A ``RedispatcherTester`` with an empty store; fixtures that run the app depend on it."""
    from redispatcher_fastapi.testing.tester import RedispatcherTester

    with RedispatcherTester(
        redispatcher_dispatcher, redispatcher_app, clock=redispatcher_clock
    ) as tester:
        yield tester
