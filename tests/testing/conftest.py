"""The shop under a tester."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from redispatcher_fastapi import Redispatcher
from redispatcher_fastapi.testing import RedispatcherTester
from tests.testing.shop import make_app, make_dispatcher


@pytest.fixture
def dispatcher() -> Redispatcher:
    return make_dispatcher()


@pytest.fixture
def app(dispatcher: Redispatcher) -> FastAPI:
    return make_app(dispatcher)


@pytest.fixture
def tester(dispatcher: Redispatcher) -> Iterator[RedispatcherTester]:
    with RedispatcherTester(dispatcher) as tester:
        yield tester
