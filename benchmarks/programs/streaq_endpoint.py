"""An endpoint that publishes with streaq, by the worker's own connection, as it documents it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from benchmarks.programs.streaq import Message, noop, worker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with worker:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/plain", status_code=202)
async def plain(message: Message) -> dict[str, bool]:
    return {"ok": True}


@app.post("/publish", status_code=202)
async def publish(message: Message) -> dict[str, bool]:
    await noop.enqueue(message.model_dump())
    return {"ok": True}
