"""The publishing side of a library, asked line by line. Standard library only."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

State = Literal["done", "failed", "open"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a library says of a job."""

    state: State
    word: str
    """The library's own."""
    result: str | None = None


class Client(Protocol):
    """What a program has; a job is known by the name that the harness gave it."""

    async def start(self) -> None: ...

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        """Return the id that the library logs."""
        ...

    async def ask(self, job: str) -> Answer:
        """Look, without waiting."""
        ...


def serve(client: Client) -> None:
    """Answer on standard output what is asked on standard input, until that ends."""
    asyncio.run(_serve(client))


async def _serve(client: Client) -> None:
    await client.start()
    loop = asyncio.get_running_loop()
    print("{}", flush=True)  # noqa: T201
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        answer: dict[str, object] = {}
        if question["kind"] == "publish":
            kills = question["kills"]
            id = await client.publish(question["job"], question["seconds"], kills=kills)
            answer = {"id": id}
        else:
            answer = asdict(await client.ask(question["job"]))
        print(json.dumps(answer), flush=True)  # noqa: T201
