"""This library: a pool that enters the application's lifespan."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from benchmarks import settings
from benchmarks.faults import work
from benchmarks.faults.journal import keep_log, note
from benchmarks.faults.serving import Answer, State, serve
from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerConfig,
    Job,
    JobState,
    Redispatcher,
    RedispatcherConfig,
)


class Work(BaseConsumer):
    QUEUE = "work"

    class Message(BaseConsumer.Message):
        job: str
        seconds: float
        kills: bool

    async def process_message(self, message: Message) -> str:
        return await work.run(message.job, message.seconds, message.kills)


dispatcher = Redispatcher(
    RedispatcherConfig(
        redis_dsn=settings.REDIS_URL,
        consumers=[ConsumerConfig(consumer_class=Work, count=work.SLOTS)],
        lease=timedelta(seconds=work.LEASE),
    )
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    note("ready")
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(dispatcher.router)

_STATES: dict[JobState | None, State] = {
    JobState.SUCCEEDED: "done",
    JobState.DEAD: "failed",
    JobState.CANCELLED: "failed",
}


class Client:
    async def start(self) -> None:
        self._lifespan = dispatcher.lifespan()
        await self._lifespan.__aenter__()
        self._publisher = dispatcher.publisher(Work)
        self._jobs: dict[str, Job[str]] = {}

    async def publish(self, job: str, seconds: float, *, kills: bool) -> str:
        message = Work.Message(job=job, seconds=seconds, kills=kills)
        published = self._jobs[job] = await self._publisher.publish(message)
        return published.id

    async def ask(self, job: str) -> Answer:
        known = self._jobs[job]
        state = await known.state()
        result = await known.result(timeout=1) if state is JobState.SUCCEEDED else None
        return Answer(_STATES.get(state, "open"), str(state), result)


if __name__ == "__main__":
    serve(Client())
else:
    keep_log()
