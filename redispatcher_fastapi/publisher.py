"""``Publisher[MyConsumer]``: typed for the checker, dependable for FastAPI."""
# No `from __future__ import annotations` here: FastAPI < 0.128 cannot resolve string
# annotations on a callable object, which PublisherAlias is.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Never, Protocol, TypeVar, Union, final, overload

from fastapi.requests import HTTPConnection
from pydantic import BaseModel

from redispatcher_fastapi.broker.types import MessageSender
from redispatcher_fastapi.consumer import (
    BaseConsumer,
    Consumes,
    ConsumesSync,
    definition_of,
    prepare,
)
from redispatcher_fastapi.errors import ConsumerDefinitionError, NotRunningError
from redispatcher_fastapi.job import Job
from redispatcher_fastapi.keys import check_job_id

M = TypeVar("M")
R = TypeVar("R")
C = TypeVar("C", bound="ConsumesSync[Never, object]")
C_co = TypeVar("C_co", bound="ConsumesSync[Never, object]", covariant=True)

#: The name under which a dispatcher is found in the lifespan's state and on ``app.state``.
STATE_KEY = "redispatcher"


class PublisherSource(Protocol):
    """What is found there."""

    def publisher(self, consumer: type[C], /) -> "Publisher[C]": ...


def not_running() -> NotRunningError:
    """Return the error for using a dispatcher that is not there, with what usually causes it."""
    return NotRunningError(
        "No dispatcher is running here. The usual causes: the app does not include the router "
        "(`app.include_router(dispatcher.router)`); the app's lifespan has not run (in tests: "
        "`with TestClient(app) as client:`, or `RedispatcherTester(dispatcher, app)`); or the "
        "router is included in a mounted sub-app, whose lifespan no server runs (include it in "
        "the outermost app)."
    )


@dataclass(frozen=True)
class PublisherAlias:
    """``Publisher[MyConsumer]`` at run time: a dependency, equal for equal consumers.

    Not a class, which FastAPI would call in a thread, and not a generic alias, whose parameters
    FastAPI would look for in the query.
    """

    consumer: type[BaseConsumer]

    async def __call__(self, connection: HTTPConnection) -> "Publisher[Any]":
        scope = connection.scope
        # The innermost app's own: the state is the outermost's, and is lost where a test runs the
        # lifespan by itself, next to its client.
        app_state = getattr(scope.get("app"), "state", None)
        source: PublisherSource | None = getattr(app_state, STATE_KEY, None)
        if source is None:
            # Of the app this one is mounted in, or of a pool that has no app.
            source = scope.get("state", {}).get(STATE_KEY)
        if source is None:
            raise not_running()
        return source.publisher(self.consumer)

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Never:
        raise ConsumerDefinitionError(
            f"{self} is a dependency and needs Depends(): write "
            f"`publisher: Annotated[{self}, Depends()]`."
        )

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007  # `|` is what is being defined

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007

    def __repr__(self) -> str:
        return f"Publisher[{self.consumer.__qualname__}]"


@final
class Publisher(Generic[C_co]):
    """Publishes the messages of one consumer.

    Endpoints and consumers ask for it: ``publisher: Annotated[Publisher[MyConsumer], Depends()]``.
    It can be used by any number of tasks at once.
    """

    __slots__ = ("_definition", "_max_message_bytes", "_sender", "consumer")

    def __init__(
        self, consumer: type[C_co], sender: MessageSender, *, max_message_bytes: int
    ) -> None:
        self.consumer = consumer
        self._definition = definition_of(consumer)
        self._sender = sender
        self._max_message_bytes = max_message_bytes

    if not TYPE_CHECKING:

        def __class_getitem__(cls, consumer: Any) -> Any:
            if isinstance(consumer, TypeVar) or consumer is Any:
                return super().__class_getitem__(consumer)
            definition_of(consumer)
            return PublisherAlias(consumer)

    @overload
    async def publish(
        self: "Publisher[Consumes[M, R]]",
        message: M,
        *,
        id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> Job[R]: ...
    @overload
    async def publish(
        self: "Publisher[ConsumesSync[M, R]]",
        message: M,
        *,
        id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> Job[R]: ...
    async def publish(
        self,
        message: Any,
        *,
        id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> Job[Any]:
        """Publish a message and return the handle on its job.

        With an ``id`` of the caller's choice, publishing again leaves the one job that exists;
        ``job.created`` tells. ``delay`` and ``at`` (an aware time) exclude each other. ``headers``
        go on top of what the consumer's ``headers()`` makes.

        Raises:
            PublishUncertainError: Redis did not confirm in time; publishing again with the id in
                the error's ``job_ids`` is safe.
            QueueFullError: the queue is at its limit, or Redis has no memory left.
            MessageTooLargeError: the encoded message is larger than ``max_message_bytes``.
            WrongMessageError: the message is not exactly the consumer's ``Message``.
        """
        definition = self._definition
        submission = prepare(
            definition,
            message,
            id=id,
            delay=delay,
            at=at,
            headers=headers,
            max_message_bytes=self._max_message_bytes,
        )
        sender = self._sender
        queue = definition.queue
        created = await sender.send(queue, submission)
        return Job(
            sender.store,
            definition.decode_result,
            queue=queue,
            id=submission.job_id,
            created=created,
        )

    @overload
    async def publish_many(
        self: "Publisher[Consumes[M, R]]",
        messages: Iterable[M],
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> list[Job[R]]: ...
    @overload
    async def publish_many(
        self: "Publisher[ConsumesSync[M, R]]",
        messages: Iterable[M],
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> list[Job[R]]: ...
    async def publish_many(
        self,
        messages: Iterable[Any],
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
    ) -> list[Job[Any]]:
        """Publish messages in batches; return their jobs in the same order.

        All of them are checked and encoded before the first is sent. The options hold for each.

        Raises:
            PublishUncertainError: Redis did not confirm in time; jobs of earlier batches exist.
            QueueFullError: the queue has no room for all of them, so that none was published, or
                Redis has no memory left.
            MessageTooLargeError: an encoded message is larger than ``max_message_bytes``.
            WrongMessageError: a message is not exactly the consumer's ``Message``.
        """
        definition = self._definition
        submissions = [
            prepare(
                definition,
                message,
                id=None,
                delay=delay,
                at=at,
                headers=headers,
                max_message_bytes=self._max_message_bytes,
            )
            for message in messages
        ]
        created = await self._sender.send_many(definition.queue, submissions)
        store = self._sender.store
        return [
            Job(
                store,
                definition.decode_result,
                queue=definition.queue,
                id=submission.job_id,
                created=is_new,
            )
            for submission, is_new in zip(submissions, created, strict=True)
        ]

    @overload
    def job(self: "Publisher[Consumes[M, R]]", id: str) -> Job[R]: ...
    @overload
    def job(self: "Publisher[ConsumesSync[M, R]]", id: str) -> Job[R]: ...
    def job(self, id: str) -> Job[Any]:
        """Return the handle on a job that was published before, here or elsewhere.

        Nothing is asked of Redis yet: ``await job.state()`` tells whether there is such a job.

        Raises:
            InvalidNameError: the id has characters or a length that no job's id has.
        """
        definition = self._definition
        return Job(
            self._sender.store,
            definition.decode_result,
            queue=definition.queue,
            id=check_job_id(id),
            created=False,
        )

    def __repr__(self) -> str:
        return f"Publisher[{self.consumer.__qualname__}]"


class Publishers:
    """The publishers of one sender, made when they are first asked for."""

    def __init__(self, sender: MessageSender, *, max_message_bytes: int) -> None:
        self._sender = sender
        self._max_message_bytes = max_message_bytes
        self._made: dict[type[Any], Publisher[Any]] = {}

    def publisher(self, consumer: type[C], /) -> Publisher[C]:
        """Return the publisher of a consumer."""
        made = self._made.get(consumer)
        if made is None:
            made = Publisher(consumer, self._sender, max_message_bytes=self._max_message_bytes)
            self._made[consumer] = made
        return made
