"""Notes, of which an index is made once nobody has changed them for a while."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.database import Note, get_session
from example_app.tracing import TracedConsumer
from redispatcher_fastapi import BaseConsumer, OnConflict, Unique, UniqueScope

#: How long a note is left alone before it is indexed.
QUIET = timedelta(seconds=5)


class IndexNote(TracedConsumer):
    """Runs once for many changes: each puts off the job that waits for that note already."""

    QUEUE = "note-index"
    UNIQUE = Unique(scope=UniqueScope.WAITING, on_conflict=OnConflict.DEBOUNCE)

    class Message(BaseConsumer.Message):
        note_id: int

    async def process_message(
        self, message: Message, session: Annotated[AsyncSession, Depends(get_session)]
    ) -> None:
        note = await session.get(Note, message.note_id)
        if note is not None:
            note.words = " ".join(sorted(set(re.findall(r"\w+", note.text.lower()))))
            await session.commit()
