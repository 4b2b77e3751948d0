"""The example's mail, through a server that speaks SMTP."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from pathlib import Path

import aiosmtplib
import pytest

from example_app.mailer import OutboxMailer, SmtpMailer, compose_welcome, get_mailer
from example_app.settings import Settings
from tests.example_app.smtp import smtp_server

pytestmark = pytest.mark.anyio


async def test_a_mail_goes_out_over_smtp() -> None:
    async with smtp_server() as server:
        mailer = get_mailer(Settings(smtp_host="127.0.0.1", smtp_port=server.port))

        where = await mailer.send(compose_welcome(email="ada@example.com", name="Zoë"))

    assert where == f"ada@example.com by way of 127.0.0.1:{server.port}"
    (received,) = server.received
    assert (received.sender, received.recipients) == ("hello@example.com", ("ada@example.com",))
    mail = message_from_bytes(received.content, policy=default)
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Welcome, Zoë!")
    assert mail.get_content().splitlines()[0] == "Hello Zoë,"


async def test_a_line_that_is_only_a_dot_does_not_end_the_mail() -> None:
    async with smtp_server() as server:
        mail = compose_welcome(email="ada@example.com", name="Ada")
        mail.set_content("before\n.\nafter\n")

        await SmtpMailer("127.0.0.1", server.port).send(mail)

    (received,) = server.received
    # SMTP doubles a dot at the beginning of a line; the receiving server takes it away.
    assert received.content.replace(b"\n..", b"\n.").endswith(b"before\r\n.\r\nafter\r\n")


async def test_a_mail_that_the_server_refuses_is_an_error() -> None:
    async with smtp_server(refusal="550 no such mailbox") as server:
        mailer = SmtpMailer("127.0.0.1", server.port)

        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await mailer.send(compose_welcome(email="nobody@example.com", name="Nobody"))

    assert server.received == []


async def test_a_server_that_is_away_is_an_error() -> None:
    async with smtp_server() as server:
        port = server.port  # nobody listens there any more

    with pytest.raises(aiosmtplib.SMTPConnectError):
        await SmtpMailer("127.0.0.1", port).send(compose_welcome(email="a@example.com", name="A"))


async def test_without_a_server_mail_goes_into_a_folder(tmp_path: Path) -> None:
    mailer = get_mailer(Settings(smtp_host="", data_dir=tmp_path))

    assert isinstance(mailer, OutboxMailer)
