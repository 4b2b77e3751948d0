"""An endpoint that publishes with arq, by a pool the application holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI, Request
from pydantic import BaseModel

from benchmarks import settings


class Message(BaseModel):
    index: int
    email: str
    name: str
    registered: bool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.arq = await create_pool(
        RedisSettings.from_dsn(settings.REDIS_URL), default_queue_name=settings.QUEUES[0]
    )
    yield
    await app.state.arq.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/plain", status_code=202)
async def plain(message: Message) -> dict[str, bool]:
    return {"ok": True}


@app.post("/publish", status_code=202)
async def publish(message: Message, request: Request) -> dict[str, bool]:
    await request.app.state.arq.enqueue_job("noop", message.model_dump())
    return {"ok": True}
