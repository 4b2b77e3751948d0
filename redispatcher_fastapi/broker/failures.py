"""The lines of a job's history: bounded, and free of payload values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.types import Cancelled, Died, Retried

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import Unsuccessful

_MAX_TEXT = 4096
_MAX_TRACEBACK = 16_384


def encode_failure(outcome: Unsuccessful) -> str:
    """Return the JSON that the history keeps of a failed attempt; empty when nothing failed."""
    match outcome:
        case Retried(error=error):
            fields = {"outcome": "failed"}
        case Cancelled(error=error) if error is not None:
            fields = {"outcome": "cancelled"}
        case Died(reason=reason, error=error) if error is not None:
            fields = {"outcome": "failed" if reason == "failed" else reason}
        case _:
            return ""
    fields["error"] = error.text[:_MAX_TEXT]
    if error.traceback is not None:
        # The innermost frames are at the end.
        fields["traceback"] = error.traceback[-_MAX_TRACEBACK:]
    return json.dumps(fields)
