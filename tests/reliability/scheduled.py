"""What ``redispatcher pool`` runs in the tests of schedules: jobs that note what they are."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    JobContext,
    Misfire,
    RedispatcherConfig,
    Schedule,
)

#: Where the handlers write, how many schedules there are, and which clock this process has.
NOTES, COUNT, PROCESS = "SCHEDULED_NOTES", "SCHEDULED_COUNT", "SCHEDULED_PROCESS"


class Tick(BaseConsumer):
    QUEUE = "ticks"

    class Message(BaseConsumer.Message):
        number: int

    async def process_message(self, message: Message, context: JobContext) -> None:
        note = f"{os.environ[PROCESS]} {time.time():.3f} {context.id}\n"
        notes = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(notes, note.encode())
        finally:
            os.close(notes)


if NOTES in os.environ:
    config = RedispatcherConfig(
        consumers=[
            ConsumerConfig(
                consumer_class=Tick,
                schedules=[
                    Schedule(
                        f"s{number}",
                        Tick.Message(number=number),
                        every=timedelta(seconds=1),
                        misfire=Misfire.all(1000),
                    )
                    for number in range(int(os.environ[COUNT]))
                ],
            )
        ],
        lease=timedelta(seconds=5),
    )
