"""An endpoint that adds to a stream with a redis-py client of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from benchmarks.programs.limit import STREAM, Message, connect


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with connect(max_connections=1000) as redis:
        app.state.redis = redis
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/plain", status_code=202)
async def plain(message: Message) -> dict[str, bool]:
    return {"ok": True}


@app.post("/publish", status_code=202)
async def publish(message: Message, request: Request) -> dict[str, bool]:
    command = request.app.state.redis.execute_command
    await command("XADD", STREAM, "*", "body", message.model_dump_json())
    return {"ok": True}
