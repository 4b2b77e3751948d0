"""``python -m tests.database.child``: a process that ends itself at the worst moment.

It is told on standard input, as JSON, what to do: ``commit`` a message and be lost right after the
commit, or ``relay`` and be lost, with a likelihood, between Redis and the deletion.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from redispatcher_fastapi import ConsumerPool, Outbox, RedispatcherConfig
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.database import AfterCommit
from tests.database.shop import Bill, Database, Order, Ship, running_shop


def die(*_: object, **__: object) -> None:
    """End at once, as a machine does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def replace(owner: object, name: str, by: object) -> None:
    """Replace a part of the library, in this process alone."""
    assert hasattr(owner, name)
    setattr(owner, name, by)


async def commit(database: Database, dsn: str, way: str) -> None:
    """Commit an order with its message, and die before anything else."""
    replace(Outbox, "release", die)
    replace(AfterCommit, "release", die)
    async with (
        running_shop(database, redis_dsn=dsn) as dispatcher,
        AsyncSession(database.async_engine()) as session,
    ):
        publisher = dispatcher.publisher(Ship)
        bound = (
            publisher.after_commit(session)
            if way == "after_commit"
            else publisher.in_transaction(session)
        )
        job = bound.publish(Ship.Message(number=1), id="the-job")
        session.add(Order(number=1, job_id=job.id))
        await session.commit()


async def relay(database: Database, dsn: str, likelihood: float) -> None:
    """Move messages in batches of five, for a consumer that other processes run."""
    chance = random.Random(os.getpid())
    send_some: Any = DirectSender.send_some

    async def send_and_perhaps_die(*arguments: Any) -> Any:
        answers = await send_some(*arguments)
        if chance.random() < likelihood:
            die()
        return answers

    replace(DirectSender, "send_some", send_and_perhaps_die)
    outbox = Outbox(database.async_engine(), poll=timedelta(milliseconds=20), batch=5)
    config = RedispatcherConfig(redis_dsn=dsn, consumers=[Bill], outbox=outbox)
    await ConsumerPool(config).run()


async def main() -> None:
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    database = Database(told["sync_url"], told["async_url"])
    if "way" in told:
        await commit(database, told["dsn"], told["way"])
    else:
        await relay(database, told["dsn"], told["likelihood"])


if __name__ == "__main__":
    asyncio.run(main())
