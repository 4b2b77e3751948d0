"""A request cancels the job that the pool in the same application runs."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from redispatcher_fastapi import (
    BaseConsumer,
    JobContext,
    JobState,
    Publisher,
    Redispatcher,
    RedispatcherConfig,
)
from tests.waiting import wait_until_blocking

started = threading.Event()
reasons: list[str | None] = []


class Export(BaseConsumer):
    QUEUE = "export"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message, context: JobContext) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            reasons.append(context.stop_reason)


def test_an_endpoint_cancels_what_runs() -> None:
    config = RedispatcherConfig(
        redis_dsn=f"memory://{uuid4().hex}", consumers=[Export], grace_period=timedelta()
    )
    dispatcher = Redispatcher(config, run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)

    @app.post("/exports")
    async def begin(publisher: Annotated[Publisher[Export], Depends()]) -> str:
        return (await publisher.publish(Export.Message())).id

    @app.get("/exports/{job_id}")
    async def look(job_id: str, publisher: Annotated[Publisher[Export], Depends()]) -> str | None:
        return await publisher.job(job_id).state()

    @app.delete("/exports/{job_id}")
    async def cancel(job_id: str, publisher: Annotated[Publisher[Export], Depends()]) -> bool:
        return await publisher.job(job_id).cancel()

    with TestClient(app) as client:
        job_id = client.post("/exports").json()
        assert started.wait(10)
        assert client.delete(f"/exports/{job_id}").json() is True
        wait_until_blocking(
            lambda: client.get(f"/exports/{job_id}").json() == JobState.CANCELLED.value
        )
        assert client.delete(f"/exports/{job_id}").json() is False
    assert reasons == ["cancelled"]
