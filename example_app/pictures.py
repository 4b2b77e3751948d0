"""Thumbnails of a picture, made beside each other, and what is noted once all of them are there."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.database import get_session, note_picture
from example_app.settings import Settings, get_settings
from example_app.tracing import TracedConsumer
from redispatcher_fastapi import BaseConsumer, GroupResult, JobContext, Reject, RetryPolicy

#: The first is the one that is shown.
SIZES = (240, 64)


class Thumbnail(BaseModel):
    picture: str
    size: int


class MakeThumbnail(TracedConsumer):
    """Shrinks a picture; being a plain ``def`` it runs in a thread, and the others go on."""

    QUEUE = "thumbnails"
    RETRY = RetryPolicy(max_attempts=3)

    class Message(BaseConsumer.Message):
        # The picture itself stays in a file: messages are small.
        picture: str = Field(pattern=r"^[0-9a-f]{32}$")
        size: int = Field(ge=16, le=1024)

    def process_message(
        self,
        message: Message,
        context: JobContext,
        settings: Annotated[Settings, Depends(get_settings)],
    ) -> Thumbnail:
        try:
            with Image.open(settings.folder("pictures") / message.picture) as picture:
                picture.thumbnail((message.size, message.size))
                small = picture.convert("RGB")
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise Reject("the file is not a picture") from error  # trying again will not help
        context.cancellation.raise_if_requested()  # a thread is not interrupted: it asks
        small.save(settings.folder("thumbnails") / f"{message.picture}-{message.size}.jpg")
        return Thumbnail(picture=message.picture, size=message.size)


class NotePicture(TracedConsumer):
    """Follows the thumbnails of a picture, and notes those that there are."""

    QUEUE = "pictures"

    class Message(GroupResult[Thumbnail]):
        pass

    async def process_message(
        self, message: Message, session: Annotated[AsyncSession, Depends(get_session)]
    ) -> list[int]:
        made = [thumbnail for thumbnail in message.results if thumbnail is not None]
        sizes = sorted(thumbnail.size for thumbnail in made)
        if made:
            await note_picture(session, made[0].picture, sizes=sizes)
            await session.commit()
        return sizes
