"""An endpoint that publishes with this library, by a publisher that FastAPI injects."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI

from benchmarks import settings
from benchmarks.programs.ours import Noop
from redispatcher_fastapi import BaseConsumer, Publisher, Redispatcher, RedispatcherConfig


class Job(Noop):
    QUEUE = settings.QUEUES[0]

    class Message(Noop.Message):
        pass


consumers: list[type[BaseConsumer]] = [Job]
dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=settings.REDIS_URL, consumers=consumers))
app = FastAPI()
app.include_router(dispatcher.router)


@app.post("/plain", status_code=202)
async def plain(message: Job.Message) -> dict[str, bool]:
    return {"ok": True}


@app.post("/publish", status_code=202)
async def publish(
    message: Job.Message, publisher: Annotated[Publisher[Job], Depends()]
) -> dict[str, bool]:
    await publisher.publish(message)
    return {"ok": True}
