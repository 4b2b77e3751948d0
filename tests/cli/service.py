"""What the tests of the command line run: an application and its dispatcher."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from redispatcher_fastapi.config import ConsumerConfig, RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher
from tests.cli.consumers import Echo, Endless, Failing, Held, Seeing, Stuck, original, overriding


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, str]]:
    """Start as the environment says: usually at once."""
    app.state.greeting = "hello"
    match os.environ.get("SERVICE_START"):
        case "fail":
            raise LookupError("the database is not there")
        case "hang":
            print("starting", flush=True)  # noqa: T201  # tells the test that it has begun
            await asyncio.Event().wait()
        case _:
            pass
    yield {"name": "you"}
    print("closed", flush=True)  # noqa: T201


dispatcher = Redispatcher(
    RedispatcherConfig(
        consumers=[Echo, Held, ConsumerConfig(consumer_class=Endless, count=2), Failing, Seeing]
    ),
    run_pool=True,
)
hurried = RedispatcherConfig(consumers=[Held], grace_period=timedelta())
impatient = RedispatcherConfig(consumers=[Stuck], grace_period=timedelta())
app = FastAPI(lifespan=lifespan)
app.include_router(dispatcher.router)
app.dependency_overrides[original] = overriding

app_without_dispatcher = FastAPI(title="Bare")
