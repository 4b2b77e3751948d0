"""The work that requests do not wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from PIL import Image, UnidentifiedImageError
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.database import User, get_session
from example_app.mailer import Mailer, compose_welcome, get_mailer
from example_app.settings import Settings, get_settings
from example_app.tracing import TracedConsumer
from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    Exponential,
    JobContext,
    RedispatcherConfig,
    Reject,
    RetryPolicy,
)


class SendWelcomeMail(TracedConsumer):
    """Writes to a new user, once."""

    QUEUE = "welcome-mails"
    TIMEOUT = timedelta(seconds=30)

    class Message(BaseConsumer.Message):
        # The id and not the address: what the user changes in the meantime counts.
        user_id: int

    async def process_message(
        self,
        message: Message,
        session: Annotated[AsyncSession, Depends(get_session)],
        mailer: Annotated[Mailer, Depends(get_mailer)],
    ) -> str:
        user = await session.get(User, message.user_id)
        if user is None:
            raise Reject(f"there is no user {message.user_id}")
        # A job can run twice, as when its process dies at the wrong moment: look before sending.
        if user.welcome_mail is None:
            user.welcome_mail = await mailer.send(compose_welcome(email=user.email, name=user.name))
            await session.commit()
        return user.welcome_mail


class MakeThumbnail(TracedConsumer):
    """Shrinks a picture; being a plain ``def`` it runs in a thread, and the others go on."""

    QUEUE = "thumbnails"
    RETRY = RetryPolicy(max_attempts=3)

    class Message(BaseConsumer.Message):
        # The picture itself stays in a file: messages are small.
        picture: str = Field(pattern=r"^[0-9a-f]{32}$")
        size: int = Field(default=240, ge=16, le=1024)

    def process_message(
        self, message: Message, settings: Annotated[Settings, Depends(get_settings)]
    ) -> tuple[int, int]:
        try:
            with Image.open(settings.folder("pictures") / message.picture) as picture:
                picture.thumbnail((message.size, message.size))
                small = picture.convert("RGB")
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise Reject("the file is not a picture") from error  # trying again will not help
        small.save(settings.folder("thumbnails") / f"{message.picture}.jpg")
        return small.size


class Partner:
    """Somebody else's service, which is not always there: it answers the third time."""

    async def announce(self, order: int, *, attempt: int) -> str:
        if attempt < 3:
            raise ConnectionError("the partner answered 503")
        return f"order {order} announced on attempt {attempt}"


class CallWebhook(TracedConsumer):
    """Tells a partner about an order, and tries again when that fails."""

    QUEUE = "webhooks"
    RETRY = RetryPolicy(
        max_attempts=5,
        backoff=Exponential(first=timedelta(seconds=1), max=timedelta(minutes=5)),
    )

    class Message(BaseConsumer.Message):
        order: int

    async def process_message(
        self,
        message: Message,
        context: JobContext,
        partner: Annotated[Partner, Depends(Partner)],
    ) -> str:
        return await partner.announce(message.order, attempt=context.attempt)


def make_config() -> RedispatcherConfig:
    """Return what the API and the pool share; REDISPATCHER_REDIS_DSN says where Redis is."""
    return RedispatcherConfig(
        consumers=[
            SendWelcomeMail,
            # As many as there are processor cores to spare.
            ConsumerConfig(consumer_class=MakeThumbnail, count=2),
            CallWebhook,
        ]
    )
