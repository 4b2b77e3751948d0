"""The work that ends in a mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from example_app.database import User, count_sign_ups, get_session
from example_app.mailer import Mailer, compose_report, compose_welcome, get_mailer
from example_app.tracing import TracedConsumer
from redispatcher_fastapi import BaseConsumer, JobContext, Reject, Schedule


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


class ReportSignUps(TracedConsumer):
    """Tells the owners every morning how many have signed up; a second mail would do no harm."""

    QUEUE = "sign-up-reports"

    class Message(BaseConsumer.Message):
        pass

    SCHEDULES = (Schedule("daily", Message(), cron="0 6 * * *", tz="Europe/Oslo"),)

    async def process_message(
        self,
        message: Message,
        context: JobContext,
        session: Annotated[AsyncSession, Depends(get_session)],
        mailer: Annotated[Mailer, Depends(get_mailer)],
    ) -> int:
        # The time of the schedule and not that of the run: a late report is about the same day.
        until = context.tick or context.published_at
        since = until - timedelta(days=1)
        count = await count_sign_ups(session, since=since, until=until)
        await mailer.send(compose_report(count=count, since=since, until=until))
        return count
