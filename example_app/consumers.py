"""The work that requests do not wait for, and how much of it runs at once."""

from __future__ import annotations

from example_app.database import make_outbox
from example_app.mails import ReportSignUps, SendWelcomeMail
from example_app.notes import IndexNote
from example_app.partners import CallWebhook
from example_app.pictures import MakeThumbnail, NotePicture
from redispatcher_fastapi import ConsumerConfig, RedispatcherConfig


def make_config() -> RedispatcherConfig:
    """Return what the API and the pool share; REDISPATCHER_REDIS_DSN says where Redis is."""
    return RedispatcherConfig(
        consumers=[
            SendWelcomeMail,
            ReportSignUps,
            # As many as there are processor cores to spare.
            ConsumerConfig(consumer_class=MakeThumbnail, count=2),
            NotePicture,
            CallWebhook,
            IndexNote,
        ],
        outbox=make_outbox(),
    )
