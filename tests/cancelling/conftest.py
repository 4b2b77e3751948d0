"""Nothing noted, nothing let go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cancelling.consumers import go_on, notes, threads


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    notes.lines.clear()
    go_on.clear()
    yield
    go_on.set()
    threads.wait_until_ended()
