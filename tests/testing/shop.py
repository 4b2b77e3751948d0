"""A small application for the tests of the tester; its Redis does not exist."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import HttpUrl

from redispatcher_fastapi import (
    BaseConsumer,
    JobContext,
    Publisher,
    Redispatcher,
    RedispatcherConfig,
    Reject,
    Retry,
    RetryPolicy,
    Snooze,
)

NOWHERE = "redis://redis.invalid:1/0"


class Address(BaseConsumer.Message):
    city: str
    street: str = ""


class Welcome(BaseConsumer):
    QUEUE = "welcome"

    class Message(BaseConsumer.Message):
        email: str
        name: str = ""
        site: HttpUrl | None = None
        address: Address | None = None

    class Headers(BaseConsumer.Headers):
        tenant: str = "none"

    async def process_message(self, message: Message, headers: Headers) -> str:
        return f"{message.email} of {headers.tenant}"


class Flaky(BaseConsumer):
    """Does what its message says."""

    QUEUE = "flaky"
    RETRY = RetryPolicy(max_attempts=3)

    class Message(BaseConsumer.Message):
        raises: str
        until_attempt: int = 100

    async def process_message(self, message: Message, context: JobContext) -> int:
        if context.attempt < message.until_attempt:
            match message.raises:
                case "snooze":
                    raise Snooze(timedelta(minutes=5))
                case "retry":
                    raise Retry(timedelta(minutes=2))
                case "reject":
                    raise Reject("not wanted")
                case "exit":
                    raise SystemExit(3)
                case text:
                    raise ValueError(text)
        return context.attempt


async def get_prices(request: Request) -> dict[str, int]:
    prices: dict[str, int] = request.app.state.prices
    return prices


class Price(BaseConsumer):
    """Synchronous, and depends on the application."""

    QUEUE = "price"

    class Message(BaseConsumer.Message):
        article: str

    def process_message(
        self, message: Message, prices: Annotated[dict[str, int], Depends(get_prices)]
    ) -> int:
        return prices[message.article]


class Relay(BaseConsumer):
    """Publishes further messages, to itself too."""

    QUEUE = "relay"

    class Message(BaseConsumer.Message):
        times: int

    async def process_message(
        self,
        message: Message,
        welcomes: Annotated[Publisher[Welcome], Depends()],
        # `Annotated` could not be evaluated while its own class is being made.
        relays: Publisher[Relay] = Depends(),
    ) -> None:
        await welcomes.publish(Welcome.Message(email=str(message.times)))
        if message.times > 1:
            await relays.publish(Relay.Message(times=message.times - 1))


class Sum(BaseConsumer):
    """Waits for another job."""

    QUEUE = "sum"

    class Message(BaseConsumer.Message):
        articles: list[str]

    async def process_message(
        self, message: Message, prices: Annotated[Publisher[Price], Depends()]
    ) -> int:
        jobs = await prices.publish_many([Price.Message(article=each) for each in message.articles])
        return sum([await job.result() for job in jobs])


class Stranger(BaseConsumer):
    """In no configuration."""

    QUEUE = "stranger"

    class Message(BaseConsumer.Message):
        text: str = ""

    async def process_message(self, message: Message) -> None: ...


class Traced(BaseConsumer):
    """Its ``around`` adds to the result."""

    QUEUE = "traced"

    class Message(BaseConsumer.Message):
        when: datetime

    async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
        result = await run()
        return [f"around {context.attempt}", *result]

    async def process_message(self, message: Message) -> list[str]:
        return [type(message.when).__name__]


router = APIRouter()


@router.post("/welcome")
async def welcome(
    email: str,
    publisher: Annotated[Publisher[Welcome], Depends()],
    delay: float | None = None,
) -> str:
    wait = None if delay is None else timedelta(seconds=delay)
    job = await publisher.publish(Welcome.Message(email=email), delay=wait)
    return job.id


@router.post("/remind")
async def remind(email: str, publisher: Annotated[Publisher[Welcome], Depends()]) -> str:
    at = datetime.now(UTC) + timedelta(hours=1)
    return (await publisher.publish(Welcome.Message(email=email), at=at)).id


@router.get("/price")
async def price(article: str, publisher: Annotated[Publisher[Price], Depends()]) -> int:
    job = await publisher.publish(Price.Message(article=article))
    return await job.result(timeout=timedelta(minutes=1))


@router.get("/state")
async def state(request: Request, job_id: str) -> str | None:
    dispatcher: Redispatcher = request.app.state.redispatcher
    record = await dispatcher.inspector.job("welcome", job_id)
    return None if record is None else record.state


CONSUMERS = (Welcome, Flaky, Price, Relay, Sum, Traced)


def make_dispatcher() -> Redispatcher:
    """Return a dispatcher that would run a pool, on a Redis that cannot be reached."""
    return Redispatcher(RedispatcherConfig(redis_dsn=NOWHERE, consumers=CONSUMERS), run_pool=True)


def make_app(dispatcher: Redispatcher | None) -> FastAPI:
    """Return an application that sets up its state in its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, str], None]:
        app.state.prices = {"apple": 3, "pear": 4}
        yield {"started": "yes"}

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    if dispatcher is not None:
        app.include_router(dispatcher.router)
    return app
