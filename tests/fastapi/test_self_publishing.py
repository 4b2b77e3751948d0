"""Chains of jobs: a consumer may depend on its own publisher."""

from __future__ import annotations

from datetime import timedelta

from fastapi import FastAPI

from redispatcher_fastapi import Redispatcher, RedispatcherConfig
from tests.fastapi.self_publishing import Countdown

PATIENCE = timedelta(seconds=20)


async def test_a_consumer_publishes_to_itself() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Countdown])
    dispatcher = Redispatcher(config, run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)

    async with app.router.lifespan_context(app):
        countdowns = dispatcher.publisher(Countdown)
        job = await countdowns.publish(Countdown.Message(number=2))
        lengths = 1
        while (following := await job.result(PATIENCE)) is not None:
            job = countdowns.job(following)
            lengths += 1

    assert lengths == 3
