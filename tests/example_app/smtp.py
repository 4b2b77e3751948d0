"""A mail server for tests: it takes one mail after the other and keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Received:
    """One mail with its envelope, as the client gave them."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(slots=True)
class SmtpServer:
    """What RFC 5321 asks of a server at the least, on a free port of the loopback interface."""

    #: Said instead of taking a recipient, ``""`` to take all.
    refusal: str = ""
    port: int = 0
    received: list[Received] = field(default_factory=list[Received])

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it quits or goes away."""
        try:
            await self._converse(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", list[str]()
        writer.write(b"220 mail.test ESMTP\r\n")
        while line := (await reader.readline()).decode("ascii").strip():
            verb, _, argument = line.partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    answer = "250 mail.test"
                case "MAIL":
                    sender, recipients = address_in(argument), []
                    answer = "250 ok"
                case "RCPT" if self.refusal:
                    answer = self.refusal
                case "RCPT":
                    recipients.append(address_in(argument))
                    answer = "250 ok"
                case "DATA":
                    writer.write(b"354 end with a dot\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    self.received.append(Received(sender, tuple(recipients), content[:-3]))
                    answer = "250 taken"
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case "RSET":
                    answer = "250 ok"
                case _:
                    answer = "502 unknown"
            writer.write(f"{answer}\r\n".encode("ascii"))


def address_in(argument: str) -> str:
    """Return the address of ``FROM:<somebody@example.com> SIZE=1``."""
    return argument.partition("<")[2].partition(">")[0]


@asynccontextmanager
async def smtp_server(*, refusal: str = "") -> AsyncGenerator[SmtpServer]:
    """Provide a server that listens."""
    server = SmtpServer(refusal)
    listening = await asyncio.start_server(server.converse, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
