"""Chains of jobs: a consumer may depend on its own publisher."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import anyio.from_thread
from fastapi import Depends, FastAPI

from redispatcher_fastapi import BaseConsumer, Publisher, Redispatcher, RedispatcherConfig
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


class Relay(BaseConsumer):
    QUEUE = "relay"

    class Message(BaseConsumer.Message):
        number: int

    def process_message(
        self, message: Message, countdowns: Annotated[Publisher[Countdown], Depends()]
    ) -> str:
        number = Countdown.Message(number=message.number)
        return anyio.from_thread.run(countdowns.publish, number).id


async def test_a_consumer_in_a_thread_publishes() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Countdown, Relay])
    dispatcher = Redispatcher(config, run_pool=True)

    async with dispatcher.lifespan():
        relayed = await dispatcher.publisher(Relay).publish(Relay.Message(number=0))
        countdown = dispatcher.publisher(Countdown).job(await relayed.result(PATIENCE))

        assert await countdown.result(PATIENCE) is None
