"""Sends mail: through SMTP, or into a folder where there is none."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path
from typing import Annotated, Protocol
from uuid import uuid4

import aiosmtplib
from anyio import Path as AsyncPath
from fastapi import Depends

from example_app.settings import Settings, get_settings

SENDER = "Example service <hello@example.com>"
OWNERS = "owners@example.com"


class Mailer(Protocol):
    """What consumers know of mail."""

    async def send(self, mail: EmailMessage) -> str:
        """Deliver a mail and return where it went."""
        ...


class SmtpMailer:
    """Hands mail to a server."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def send(self, mail: EmailMessage) -> str:
        await aiosmtplib.send(mail, hostname=self._host, port=self._port, timeout=10)
        return f"{mail['To']} by way of {self._host}:{self._port}"


class OutboxMailer:
    """Writes mail into a folder, where a person can look at it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, mail: EmailMessage) -> str:
        path = AsyncPath(self._folder / f"{uuid4().hex}.eml")
        await path.write_bytes(mail.as_bytes())
        return str(path)


def get_mailer(settings: Annotated[Settings, Depends(get_settings)]) -> Mailer:
    """Return what the settings ask for; tests override it."""
    if settings.smtp_host:
        return SmtpMailer(settings.smtp_host, settings.smtp_port)
    return OutboxMailer(settings.folder("outbox"))


def compose_welcome(*, email: str, name: str) -> EmailMessage:
    """Return the mail that a new user gets."""
    text = f"Hello {name},\n\nit is good to have you here.\n"
    return _compose(email, subject=f"Welcome, {name}!", text=text)


def compose_report(*, count: int, since: datetime, until: datetime) -> EmailMessage:
    """Return the mail that tells the owners how many have signed up."""
    text = f"From {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC.\n"
    return _compose(OWNERS, subject=f"Sign-ups: {count}", text=text)


def _compose(to: str, *, subject: str, text: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = SENDER
    mail["To"] = to
    mail["Subject"] = subject
    mail["Message-ID"] = make_msgid(domain="example.com")
    mail.set_content(text)
    return mail
