"""Publishing with a database: after its commit, or through a table in its transaction.

SQLAlchemy is imported when it is first needed: the library works without it.
"""

from __future__ import annotations

from redispatcher_fastapi.database.after_commit import AfterCommit, FailureReport
from redispatcher_fastapi.database.channel import Channel, Waiting
from redispatcher_fastapi.database.outbox import Outbox
from redispatcher_fastapi.database.relay import Relay, RelayReport, check_outbox, relaying

__all__ = [
    "AfterCommit",
    "Channel",
    "FailureReport",
    "Outbox",
    "Relay",
    "RelayReport",
    "Waiting",
    "check_outbox",
    "relaying",
]
