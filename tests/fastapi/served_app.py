"""An application with a pool inside, for a server process; its work is in the folder WORK."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI

from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.consumer import BaseConsumer
from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.publisher import Publisher
from tests.waiting import wait_until


def get_folder() -> Path:
    return Path(os.environ["WORK"])


class Work(BaseConsumer):
    QUEUE = "work"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(
        self, message: Message, folder: Annotated[Path, Depends(get_folder)]
    ) -> str:
        (folder / "started").touch()
        await wait_until((folder / "release").exists)
        return "finished"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    yield
    (get_folder() / "closed").touch()


dispatcher = Redispatcher(RedispatcherConfig(consumers=[Work]), run_pool=True)
app = FastAPI(lifespan=lifespan)
app.include_router(dispatcher.router)


@app.post("/work")
async def publish(publisher: Annotated[Publisher[Work], Depends()]) -> str:
    return (await publisher.publish(Work.Message())).id
