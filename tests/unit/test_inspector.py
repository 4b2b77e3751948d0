"""What an inspector refuses before it asks Redis."""

from __future__ import annotations

from typing import Any

import pytest

from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.inspector import Inspector
from redispatcher_fastapi.job import JobState

NO_STORE: Any = None


@pytest.mark.parametrize(
    "cursor", ["-1", "x", "", "1.5", "٣", "9" * 23, "9" * 5000, 50]
)  # a digit, but not of ours
async def test_what_is_no_cursor_is_refused(cursor: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a cursor: pass the next_cursor") as refusal:
        await Inspector(NO_STORE).jobs("jobs", JobState.DEAD, cursor=cursor)

    assert len(str(refusal.value)) < 200
