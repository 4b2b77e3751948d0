"""docket (pydocket): a Redis stream, with a hash per job."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import uvloop
from docket import Depends, Docket, Worker
from pydantic import BaseModel

from benchmarks import jobs, settings
from benchmarks.producing import produce
from benchmarks.recorder import record_start


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


class LargeMessage(Message):
    text: str


async def noop(message: dict[str, Any]) -> None:
    record_start(Message.model_validate(message).index)


async def large(message: dict[str, Any]) -> None:
    record_start(LargeMessage.model_validate(message).index)


async def get_mailer(settings: jobs.Settings = Depends(jobs.get_settings)) -> jobs.Mailer:
    return jobs.make_mailer(settings)


async def depends(
    message: dict[str, Any],
    mailer: jobs.Mailer = Depends(get_mailer),
    settings: jobs.Settings = Depends(jobs.get_settings),
) -> None:
    record_start(Message.model_validate(message).index)


async def result(message: dict[str, Any]) -> str:
    index = Message.model_validate(message).index
    record_start(index)
    return jobs.result_of(index)


async def sleep(message: dict[str, Any]) -> None:
    await jobs.run_sleep(Message.model_validate(message).index)


TASKS = {"noop": noop, "large": large, "depends": depends, "result": result, "sleep": sleep}


def make_docket() -> Docket:
    docket = Docket(
        name=settings.QUEUES[0],
        # 100 jobs at once need more than the 100 connections the pool has by default.
        url=f"{settings.REDIS_URL}?max_connections=1000",
        execution_ttl=timedelta(minutes=15 if settings.KIND == "result" else 0),
    )
    for task in TASKS.values():
        docket.register(task)
    return docket


async def work() -> None:
    """What the docket command does, on uvloop."""
    async with (
        make_docket() as docket,
        Worker(
            docket,
            concurrency=settings.SLOTS,
            # It waits so long whenever all slots are taken.
            minimum_check_interval=timedelta(milliseconds=10),
            scheduling_resolution=timedelta(milliseconds=20),  # of delayed jobs
        ) as worker,
    ):
        running = asyncio.create_task(worker.run_forever())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.wait([running])


def body_of(kind: str, index: int) -> dict[str, Any]:
    model = LargeMessage if kind == "large" else Message
    return model.model_validate(jobs.fields_of(kind, index)).model_dump()


class Producer:
    async def start(self) -> None:
        self.docket = make_docket()
        await self.docket.__aenter__()

    async def publish(self, kind: str, index: int) -> None:
        await self.docket.add(TASKS[kind])(body_of(kind, index))

    async def publish_many(self, kind: str, indexes: Sequence[int]) -> None:
        call = self.docket.call
        await self.docket.add_many([call(TASKS[kind])(body_of(kind, index)) for index in indexes])

    async def publish_at(self, kind: str, index: int, due: datetime) -> None:
        await self.docket.add(TASKS[kind], when=due)(body_of(kind, index))

    async def close(self) -> None:
        await self.docket.__aexit__(None, None, None)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        uvloop.run(work())
    else:
        produce(Producer())
