"""``Publisher``: what endpoints and consumers publish with."""
# No `from __future__ import annotations` here: FastAPI reads the annotations of __init__ where
# somebody depends on Publisher alone, and is to find out what is wrong with that.

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Never, TypeVar, final, overload

from pydantic import BaseModel
from typing_extensions import Unpack

from redispatcher_fastapi.broker.types import MessageSender
from redispatcher_fastapi.consumer import (
    ConsumerDefinition,
    Consumes,
    ConsumesBatch,
    ConsumesSync,
    PublishManyOptions,
    PublishOptions,
    Unique,
    definition_of,
    make_job,
    prepare,
    result_reader,
)
from redispatcher_fastapi.consumer.options import refuse_one_message
from redispatcher_fastapi.database import Channel
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.job import Disposition, Job, Priority
from redispatcher_fastapi.keys import check_job_id
from redispatcher_fastapi.middleware import (
    Middleware,
    around_publishes,
)
from redispatcher_fastapi.publisher.alias import PublisherAlias, RefusesDepends
from redispatcher_fastapi.publisher.flowing import FlowPublisher
from redispatcher_fastapi.publisher.transactional import TransactionalPublisher, TransactionSender
from redispatcher_fastapi.sealing import Sealing

if TYPE_CHECKING:
    from redispatcher_fastapi.database.channel import AnySession

M = TypeVar("M")
R = TypeVar("R")
C = TypeVar("C", bound="ConsumesSync[Never, object] | ConsumesBatch[Never, object]")
C_co = TypeVar(
    "C_co", bound="ConsumesSync[Never, object] | ConsumesBatch[Never, object]", covariant=True
)


@final
class Publisher(FlowPublisher[C_co]):
    """Publishes the messages of one consumer.

    Endpoints and consumers ask for it: ``publisher: Annotated[Publisher[MyConsumer], Depends()]``.
    It can be used by any number of tasks at once.
    """

    __slots__ = ("_after_commit", "_outbox", "consumer")

    def __init__(
        self,
        consumer: Annotated[type[C_co], RefusesDepends()],
        sender: MessageSender,
        *,
        max_message_bytes: int,
        sealing: Sealing | None = None,
        middleware: Sequence[Middleware] = (),
        after_commit: Channel | None = None,
        outbox: Channel | None = None,
        notice: Callable[[ConsumerDefinition], None] | None = None,
    ) -> None:
        self._definition = definition_of(consumer)
        self.consumer = consumer
        self._sender = sender
        self._max_message_bytes = max_message_bytes
        self._sealing = sealing
        self._middleware = around_publishes(middleware)
        self._after_commit = after_commit
        self._outbox = outbox
        self._notice = notice

    if not TYPE_CHECKING:

        def __class_getitem__(cls, consumer: Any) -> Any:
            if isinstance(consumer, TypeVar) or consumer is Any:
                return super().__class_getitem__(consumer)
            return PublisherAlias(definition_of(consumer).consumer)

    @overload
    async def publish(
        self: "Publisher[Consumes[M, R]]",
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    @overload
    async def publish(
        self: "Publisher[ConsumesSync[M, R]]",
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    @overload
    async def publish(
        self: "Publisher[ConsumesBatch[M, R]]",
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    async def publish(
        self,
        message: Any,
        *,
        id: str | None = None,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
        priority: Priority | None = None,
        expires: timedelta | datetime | None = None,
        unique: Unique | None = None,
    ) -> Job[Any]:
        """Publish a message and return the handle on its job.

        With an ``id`` of the caller's choice, publishing again leaves the one job that exists;
        ``job.created`` tells. ``delay`` and ``at`` (an aware time) exclude each other. ``headers``
        go on top of what the consumer's ``headers()`` makes. ``priority``, ``expires`` (how long
        after this publish, or by what aware time, it may start for the first time) and ``unique``
        stand in for the consumer's own; ``job.disposition`` tells what ``unique`` led to.

        Raises:
            DuplicateJobError: the message was to be unique, or raise.
            PublishUncertainError: Redis did not confirm in time; publishing again with the id in
                the error's ``job_ids`` is safe.
            NotReplicatedError: the job exists, but fewer than ``confirmed_replicas`` replicas had
                it in time; a ``PublishUncertainError``.
            QueueFullError: the queue is at its limit, or Redis has no memory left.
            MessageTooLargeError: the encoded message is larger than ``max_message_bytes``.
            WrongMessageError: the message is not exactly the consumer's ``Message``.
        """
        if self._middleware:
            options: dict[str, Any] = {
                "delay": delay,
                "at": at,
                "priority": priority,
                "expires": expires,
                "unique": unique,
            }
            return (await self._publish_all((message,), headers, options, [id]))[0]
        definition = self._definition
        submission = prepare(
            definition,
            message,
            id=id,
            delay=delay,
            at=at,
            headers=headers,
            priority=priority,
            expires=expires,
            unique=unique,
            max_message_bytes=self._max_message_bytes,
            sealing=self._sealing,
        )
        sender = self._sender
        answer = await sender.send(definition.queue, submission)
        return make_job(sender.store, definition, self._sealing, submission, answer)

    @overload
    async def publish_many(
        self: "Publisher[Consumes[M, R]]",
        messages: Iterable[M],
        **options: Unpack[PublishManyOptions],
    ) -> list[Job[R]]: ...
    @overload
    async def publish_many(
        self: "Publisher[ConsumesSync[M, R]]",
        messages: Iterable[M],
        **options: Unpack[PublishManyOptions],
    ) -> list[Job[R]]: ...
    @overload
    async def publish_many(
        self: "Publisher[ConsumesBatch[M, R]]",
        messages: Iterable[M],
        **options: Unpack[PublishManyOptions],
    ) -> list[Job[R]]: ...
    async def publish_many(
        self,
        messages: Iterable[Any],
        *,
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
        priority: Priority | None = None,
        expires: timedelta | datetime | None = None,
        unique: Unique | None = None,
    ) -> list[Job[Any]]:
        """Publish messages in batches; return their jobs in the same order.

        All of them are checked and encoded before the first is sent. The options hold for each.

        Raises:
            DuplicateJobError: one was to be unique, or raise; those that are have been published.
            PublishUncertainError: Redis did not confirm in time; jobs of earlier batches exist.
            NotReplicatedError: jobs exist, but fewer than ``confirmed_replicas`` replicas had them
                in time; a ``PublishUncertainError``.
            QueueFullError: the queue has no room for all of them, so that none was published, or
                Redis has no memory left.
            MessageTooLargeError: an encoded message is larger than ``max_message_bytes``.
            WrongMessageError: a message is not exactly the consumer's ``Message``.
        """
        options: dict[str, Any] = {
            "delay": delay,
            "at": at,
            "priority": priority,
            "expires": expires,
            "unique": unique,
        }
        refuse_one_message(self._definition, messages)
        return await self._publish_all(tuple(messages), headers, options)

    @overload
    def job(self: "Publisher[Consumes[M, R]]", id: str) -> Job[R]: ...
    @overload
    def job(self: "Publisher[ConsumesSync[M, R]]", id: str) -> Job[R]: ...
    @overload
    def job(self: "Publisher[ConsumesBatch[M, R]]", id: str) -> Job[R]: ...
    def job(self, id: str) -> Job[Any]:
        """Return the handle on a job that was published before, here or elsewhere.

        Nothing is asked of Redis yet: ``await job.state()`` tells whether there is such a job.

        Raises:
            InvalidNameError: the id has characters or a length that no job's id has.
        """
        definition = self._definition
        return Job(
            self._sender.store,
            result_reader(definition, self._sealing),
            queue=definition.queue,
            id=check_job_id(id),
            disposition=Disposition.EXISTING,
        )

    def after_commit(self, session: "AnySession") -> TransactionalPublisher[C_co]:
        """Return a publisher whose messages go out once the session's transaction is committed.

        Nothing is published of a transaction, or of a savepoint, that is rolled back. What cannot
        be published then is reported, and lost: see :meth:`in_transaction`.

        Raises:
            ConfigurationError: ``session`` is none of SQLAlchemy's, or that is not installed.
        """
        if self._after_commit is None:
            raise ConfigurationError(
                f"{self}.after_commit() needs somebody to publish after the commit: take the "
                "publisher from a dispatcher."
            )
        return self._transactional(session, self._after_commit, is_relayed=False)

    def in_transaction(self, session: "AnySession") -> TransactionalPublisher[C_co]:
        """Return a publisher whose messages are part of the session's transaction.

        They are rows of the configured outbox, and a pool moves them to Redis after the commit:
        each committed one becomes a job, whatever fails meanwhile.

        Raises:
            ConfigurationError: there is no outbox in the configuration, ``session`` is none of
                SQLAlchemy's, or that is not installed.
        """
        if self._outbox is None:
            raise ConfigurationError(
                f"{self}.in_transaction() needs a table to write to: "
                "RedispatcherConfig(outbox=Outbox(engine))."
            )
        return self._transactional(session, self._outbox, is_relayed=True)

    def _transactional(
        self, session: "AnySession", channel: Channel, *, is_relayed: bool
    ) -> TransactionalPublisher[C_co]:
        sender = TransactionSender(self._sender.store, session, channel, is_relayed=is_relayed)
        return TransactionalPublisher(
            Publisher(
                self.consumer,
                sender,
                max_message_bytes=self._max_message_bytes,
                sealing=self._sealing,
                middleware=self._middleware,
            ),
            sender,
        )

    def __repr__(self) -> str:
        return f"Publisher[{self._definition.name}]"
