"""An endpoint that publishes with taskiq, as its documentation does it with FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from benchmarks.programs.taskiq_stream import Message, broker, noop


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/plain", status_code=202)
async def plain(message: Message) -> dict[str, bool]:
    return {"ok": True}


@app.post("/publish", status_code=202)
async def publish(message: Message) -> dict[str, bool]:
    await noop.kiq(message)
    return {"ok": True}
